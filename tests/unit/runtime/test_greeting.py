"""A broker's address that means nothing is refused in one line that names the setting and repeats none of the address."""

import pytest

from saga.errors import UsageError
from saga.runtime.celery.greeting import checked_broker

SETTING = "SAGA_BROKER_URL"


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0?password=hush",
        "redis://127.0.0.1:6379/0?socket_timeout=3",
        "amqp://127.0.0.1//?read_timeout=hush",
        "amqp://127.0.0.1//?userid=hush",
        "amqp://127.0.0.1//?heartbeat=hush",
        "rediss://127.0.0.1:6379/0?ssl_cert_reqs=hush",
    ],
)
def test_what_stands_behind_the_question_mark_is_not_understood(url: str) -> None:
    """An option that kombu does not know, one that it has from the address already, or a value that it cannot use."""
    with pytest.raises(UsageError) as raised:
        checked_broker(url, SETTING)
    said = str(raised.value)
    assert said.startswith(f"{SETTING}: what stands behind '?' is not understood")
    assert "hush" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "url",
    ["redis://me:hu/sh@127.0.0.1:6379/0", "amqp://hush:9x@[::1", "amqp://127.0.0.1:99999999//", "redis://h:hush/0"],
)
def test_an_address_that_cannot_be_read_is_not_repeated(url: str) -> None:
    """A `/` in a password makes the rest of it a port; the message says how to write it, and shows no piece of it."""
    with pytest.raises(UsageError) as raised:
        checked_broker(url, SETTING)
    said = str(raised.value)
    assert said.startswith(f"{SETTING}: ")
    assert "%2F" in said
    assert "hu" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "url",
    [
        "amqp://127.0.0.1//?heartbeat=5",
        "rediss://127.0.0.1:6379/0?ssl_cert_reqs=CERT_REQUIRED",
        "redis://127.0.0.1:6379/0",
    ],
)
def test_what_kombu_knows_is_taken(url: str) -> None:
    """Options of the address that work go on working."""
    checked_broker(url, SETTING)
