"""F: URLs and paths built or masked by hand. Two homes shared a journal, and the tail of a password was printed as a host."""

import os
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from saga.addresses import shown_brokers, shown_url
from saga.errors import StoreUnavailable, UsageError
from saga.runtime.celery.greeting import checked_broker
from saga.settings import read_settings
from saga.store.connecting import conninfo, sqlite_path
from saga.store.connecting import postgres_url as postgres_url_of
from saga.store.opening import open_store
from saga.store.schema import upgrade
from saga.surfaces.database_named import database_named
from tests.e2e.commands import Place

NAMES = ["a?x", "a?y", "a#z", "50%", "a%3Fx", "mit blank", "ö"]


def set_(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"SAGA_{name}", value)


def test_each_home_has_a_journal_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F11: `a?x` and `a?y` were one, since a '?' ends a path in a URL; whatever sign a folder's name has."""
    for name in NAMES:
        set_(monkeypatch, HOME=str(tmp_path / name))
        url = read_settings().store_url
        assert sqlite_path(url) == tmp_path / name / "saga.db"
        upgrade(url, "test")
        store = open_store(url)
        store.counts()
        store.close()
    assert sorted(it.name for it in tmp_path.iterdir()) == sorted(NAMES)
    assert [sorted(it.name for it in (tmp_path / name).glob("*.db")) for name in NAMES] == [["saga.db"]] * len(NAMES)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:p@hunter2@127.0.0.1/d",
        "postgresql://u@v:p@h1,h2/d",
        "postgresql://u:12/hunter2@h1,h2/d",
        "amqp://u:p@hunter2@127.0.0.1//",
        "amqp://u:12/hunter2@127.0.0.1//",
        "amqp://u:p@h1;amqp://u:12/hunter2@h2//",
        "rediss://:12/hunter2@127.0.0.1/0",
        *(f"postgresql://u:hunter2{sign}@h/d" for sign in "[]#?"),
        *(f"postgresql://u:12{sign}hunter2@h/d" for sign in ("[", "]", "#", "?", "[x]", "\uff0f")),
        *(f"amqp://u:12{sign}hunter2@h/v" for sign in "[]#?"),
        *(f"amqp://h1;amqp://u:hunter2{sign}@h2/v" for sign in "[]#?"),
        "sentinel://:12/hunter2@h1/0;sentinel://h2?master_name=m",
    ],
)
def test_a_password_in_clear_is_refused_and_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """F10: nobody can tell where it ends; the rule says how it is written. Of `u:12/hunter2` the tail is a database or a virtual host,
    which is printed."""
    set_(monkeypatch, **{"DATABASE_URL" if url.startswith("postgres") else "BROKER_URL": url})
    with pytest.raises(UsageError, match="are written %40") as refused:
        read_settings()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("sign", ["[", "]", "[x]"])
def test_a_bracket_in_the_password_of_a_mail_server_is_said(sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins as a mail server does; what is wrong with it is its password."""
    set_(monkeypatch, SMTP_URL=f"smtp://u:hunter2{sign}@h:25", MAIL_FROM="a@b.example")
    with pytest.raises(UsageError, match="%5B, %5D") as refused:
        read_settings()
    assert "hunter2" not in str(refused.value)


PASSWORDS = [
    "hunter;2x",
    ";hunter",
    "hunter;",
    "hun:ter;2x",
    "hunter,2x",
    "hunter%3B2x",
    "hunter=2x",
    "hunter&2x",
]


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_part_of_a_login_is_printed(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ';' stands between brokers, and nowhere else: of a password with one the head was printed as a port."""
    url = f"postgresql://u:{password}@127.0.0.1:1/d"
    set_(monkeypatch, DATABASE_URL=url, SMTP_URL=f"smtp://u:{quote(password, safe=';,=&')}@h", MAIL_FROM="a@b.example")
    settings = read_settings()
    with pytest.raises(StoreUnavailable) as told, database_named(settings):
        raise StoreUnavailable("no answer")
    assert str(told.value) == "SAGA_DATABASE_URL: postgresql://u:***@127.0.0.1:1/d: no answer"
    assert shown_url(settings.smtp_url or "") == "smtp://u:***@h"


@pytest.mark.parametrize("password", ["hun;ter", "hunter[", "12#hunter", "hunter#", "hunter/2", "hun?ter"])
@pytest.mark.parametrize("scheme", ["postgresql", "amqp", "smtp", "mysql"])
def test_what_no_setting_took_is_not_shown_either(password: str, scheme: str) -> None:
    """Whoever shows a URL need not know what it was checked for."""
    assert not {"hun", "ter", "12"} & set(re.split(r"\W", shown_url(f"{scheme}://u:{password}@h/v")))


@pytest.mark.parametrize("name", ["HOME", "home", "MAILBOX", "DATABASE_URL", "BROKER_URL", "SHOP_URL", "TENANT"])
def test_a_value_that_is_no_utf_8_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps such a byte as half of a surrogate pair; no URL and no database can hold that."""
    monkeypatch.setenv(f"SAGA_{name}", os.fsdecode(b"sqlite:///\xff"))
    what = "the name of the folder" if name.upper() in ("HOME", "MAILBOX") else "its value"
    with pytest.raises(UsageError, match=f"^SAGA_{name}: {what} must be UTF-8$"):
        read_settings()


def test_a_home_that_is_no_utf_8_ends_a_command_with_2(tmp_path: Path) -> None:
    """One line, and no traceback."""
    done = Place(tmp_path, tmp_path / "home", {"SAGA_HOME": os.fsdecode(b"\xff")}).run("list")
    assert (done.code, done.err.strip()) == (2, "saga: SAGA_HOME: the name of the folder must be UTF-8")


def test_several_hosts_are_tried_in_turn(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As libpq takes them: the first answers nobody."""
    url = postgres_url.replace("@", "@127.0.0.1:1,") + "?target_session_attrs=read-write"
    set_(monkeypatch, DATABASE_URL=url)
    url = read_settings().store_url
    upgrade(url, "test")
    store = open_store(url)
    store.counts()
    store.close()


def test_several_hosts_keep_what_else_the_address_says() -> None:
    """User, password, name and options, for the pool and for a connection of its own."""
    url = "postgresql://u:p%40@h1:5432,h2/d?target_session_attrs=read-write"
    made = postgres_url_of(url)
    assert (made.username, made.password, made.database) == ("u", "p@", "d")
    assert made.query == {"host": ("h1:5432", "h2"), "target_session_attrs": "read-write"}
    assert conninfo(url.replace("postgresql:", "postgresql+psycopg:")) == url


@pytest.mark.parametrize("port", ["x", "99999", "5432,h2:x"])
def test_a_port_is_a_number(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each host."""
    set_(monkeypatch, DATABASE_URL=f"postgresql://u@h1:{port}/d")
    with pytest.raises(UsageError, match="SAGA_DATABASE_URL: its port is not a number"):
        read_settings()


@pytest.mark.parametrize(
    "url",
    [
        "amqps://u:p@h:5671/v",
        "rediss://h:6380/0",
        "redis+socket:///run/redis.sock",
        "redis+socket://:p@/run/redis.sock?virtual_host=2",
        "amqp://u:p@h1;amqp://u:p@h2:5673//",
        "amqp://u:p@h1/team@shop",
        "sentinel://u:p@h1:26379/0;sentinel://h2:26379?master_name=m&sentinel_password=:p",
    ],
)
def test_a_broker_is_taken_where_kombu_takes_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several with ';', each masked for itself; where it is read before anything connects."""
    set_(monkeypatch, BROKER_URL=url)
    assert read_settings().broker_url == url
    checked_broker(url, "SAGA_BROKER_URL")
    assert "=:p" not in shown_brokers(url)
    assert ":p@" not in shown_brokers(url)
    assert shown_brokers(url).count(":***@") == url.count(":p@")


def test_a_secret_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line break that an editor puts behind it; set twice, missing and empty are said."""
    file = tmp_path / "url"
    file.write_text(" postgresql://u:p@h/d \n")
    set_(monkeypatch, DATABASE_URL_FILE=str(file))
    assert read_settings().database_url == "postgresql://u:p@h/d"
    set_(monkeypatch, DATABASE_URL="sqlite:///x.db")
    with pytest.raises(UsageError, match="SAGA_DATABASE_URL_FILE: SAGA_DATABASE_URL is set as well"):
        read_settings()
    monkeypatch.delenv("SAGA_DATABASE_URL")
    file.write_text("\n")
    monkeypatch.setenv("SAGA_LOG_LEVEL", "debug")  # settings are read anew when a variable has changed
    with pytest.raises(UsageError, match="url is empty"):
        read_settings()
    file.write_bytes(b"\xef\xbb\xbfpostgresql://u:p@h/d\r\n")  # as Windows writes it
    set_(monkeypatch, LOG_LEVEL="info")
    assert read_settings().database_url == "postgresql://u:p@h/d"
    file.write_text("postgresql://u:p@h/d\npostgresql://u:p@h/e\n")
    set_(monkeypatch, LOG_LEVEL="debug")
    with pytest.raises(UsageError, match="url holds 2 lines; keep one"):
        read_settings()
    set_(monkeypatch, DATABASE_URL_FILE=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="none: No such file or directory"):
        read_settings()
