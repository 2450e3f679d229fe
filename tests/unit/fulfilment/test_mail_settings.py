"""The settings of the mail server: what is taken, and what is refused with the variable, the rule and no value."""

import pytest

from saga.errors import UsageError
from saga.settings import Settings, read_settings

SERVER = "a mail server begins with smtp://, smtps:// or smtp+starttls:// and names a host"
END = "a mail server ends with its port; '/', '?', '#', '@' and '%' of a password are written %2F, ..."
BOTH = "a mail server has a user and a password, or neither"
ASCII = "user and password of a mail server are printable ASCII"
SENDER = "a sender is name@example.org or Some Name <name@example.org>, in one line"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SAGA_{name.upper()}", raising=False)


def test_without_a_server_mails_go_into_the_mailbox() -> None:
    """The embedded mode needs no mail server."""
    settings = read_settings()
    assert (settings.smtp_url, settings.mail_from) == (None, None)


@pytest.mark.parametrize(
    "url",
    [
        "smtp://localhost",
        "smtp://10.0.0.1:2525/",
        "smtps://user:p%40ss%2F@mail.example:465",
        "smtp+starttls://u:p@[::1]:587",
    ],
)
def test_a_server_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Three schemes, with and without user and port; no password is in what is shown, and it is no connector."""
    monkeypatch.setenv("SAGA_SMTP_URL", url)
    monkeypatch.setenv("SAGA_MAIL_FROM", "Zoë's shop <orders@shop.example>")
    settings = read_settings()
    assert settings.smtp_url == url
    assert "p%40ss" not in repr(settings)
    assert settings.connector_urls == {}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("secret", SERVER),
        ("http://secret", SERVER),
        ("smtp://", SERVER),
        ("smtp://[secret", SERVER),
        ("smtp://u:secret/x@h", END),
        ("smtp://h/secret", END),
        ("smtp://h?secret", END),
        ("smtp://h#secret", END),
        ("smtp://u:se cret@h", END),
        ("smtp://secret@h", BOTH),
        ("smtp://:secret@h", BOTH),
        ("smtp://u:secr%C3%A9t@h", ASCII),
        ("smtp://u:secret%0D%0A@h", ASCII),
        ("smtp://u:secret@h:abc", "its port is not a number from 0 to 65535"),
        ("smtp://u:secret@h:65536", "its port is not a number from 0 to 65535"),
    ],
)
def test_what_is_no_server_is_refused(monkeypatch: pytest.MonkeyPatch, url: str, says: str) -> None:
    """The rule in words; the value may be a password and is not repeated."""
    monkeypatch.setenv("SAGA_SMTP_URL", url)
    monkeypatch.setenv("SAGA_MAIL_FROM", "orders@shop.example")
    with pytest.raises(UsageError) as caught:
        read_settings()
    assert str(caught.value) == f"SAGA_SMTP_URL: {says}"


@pytest.mark.parametrize(
    "sender",
    [
        "orders",
        "orders@",
        "<orders@shop.example>",
        "a@shop.example, b@shop.example",
        "Shop <orders@shop.example> x",
        "Shop, Inc <orders@shop.example>",
        "orders@shop.example\nBcc: eve@example.org",
        "Shop\u2028 <orders@shop.example>",
    ],
)
def test_what_is_no_sender_is_refused(monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
    """One address, one line: it becomes a header."""
    monkeypatch.setenv("SAGA_MAIL_FROM", sender)
    with pytest.raises(UsageError) as caught:
        read_settings()
    assert str(caught.value) == f"SAGA_MAIL_FROM: {SENDER}"


def test_a_server_needs_a_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found at the start of a process and not at the end of the first order."""
    monkeypatch.setenv("SAGA_SMTP_URL", "smtp://mail.example")
    with pytest.raises(UsageError, match="SAGA_MAIL_FROM: is needed beside SAGA_SMTP_URL"):
        read_settings()
