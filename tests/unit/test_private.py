"""What holds names and addresses of customers is its user's alone, from the moment it is there, whatever the umask."""

import json
import os
import stat
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from saga.errors import UsageError
from saga.fulfilment import mailbox
from saga.private import keep_private, make_private_file, make_private_folder, private
from saga.settings import Settings
from saga.store import schema
from saga.store.opening import open_store
from saga.surfaces.embedded import LOCK_FILE, STACK_FILE, opened_store
from saga.surfaces.folders import made_home
from saga.surfaces.home_hints import SOCKET_FILE
from services.skeleton.database import Database


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """As open, as usual, as shut as it can be."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    """What beneath the folder, and the folder, somebody else could use."""
    return [f"{it.name} {mode(it):o}" for it in (folder, *folder.rglob("*")) if mode(it) & 0o077]


def test_what_is_made_is_private(tmp_path: Path, umask: None) -> None:
    """Folders with those above them, files, and what a mode of `open` makes."""
    folder = tmp_path / "a" / "b"
    make_private_folder(folder)
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
    make_private_folder(folder)  # there already
    if os.umask(os.umask(0)) != 0o777 or os.geteuid() == 0:
        make_private_file(folder / "x")
        with open(folder / "y", "wb", opener=private) as file:
            file.write(b"y")
    assert open_to_others(tmp_path / "a") == []


@pytest.mark.parametrize("name", ["file", "dangling"])
def test_what_is_no_folder_is_said(tmp_path: Path, name: str) -> None:
    """As `mkdir` says it, so a setting that names it is refused."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match=name):
        make_private_folder(tmp_path / name)


def test_an_embedded_home_is_private_with_all_that_is_in_it(tmp_path: Path, umask: None) -> None:
    """The database with what SQLite puts beside it, and a mail: nothing is open to others, while it is written."""
    settings = Settings(home=tmp_path / "home")
    made_home(settings)
    store = opened_store(settings)
    store.counts()
    message = EmailMessage()
    message["Subject"] = "Zoë"
    mailbox.put(settings.mail_folder, "k", message)
    names = {it.name for it in settings.home.rglob("*")}
    store.close()
    assert {"saga.db", "saga.db-wal", "saga.db-shm"} <= names
    assert open_to_others(settings.home) == []


def test_a_home_of_a_release_before_is_mended_and_that_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line; the next start says nothing."""
    settings = Settings(home=tmp_path / "home")
    schema.upgrade(settings.store_url, settings.environment)
    for path in (settings.mail_folder, settings.home / "services"):
        path.mkdir()
        path.chmod(0o755)
    for path, was in ((settings.home, 0o755), (settings.home / "saga.db", 0o644)):
        path.chmod(was)
    opened_store(settings).close()
    told = f"saga: {settings.home} and 3 more could be read by other users of this machine; now only by you\n"
    assert capsys.readouterr().err == told
    assert open_to_others(settings.home) == []
    opened_store(settings).close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", [SOCKET_FILE, f"{SOCKET_FILE}.4711", STACK_FILE, LOCK_FILE, "stack.part"])
def test_what_a_process_that_was_killed_left_is_ours(tmp_path: Path, name: str) -> None:
    """A socket lies in the home until another takes its place, and keeps nothing open to others; a part of a file, too."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    (home / name).touch(mode=0o600)
    made_home(Settings(home=home))
    assert mode(home) == 0o700


def test_a_folder_with_other_things_keeps_its_rights(tmp_path: Path) -> None:
    """Somebody set SAGA_HOME to a folder that is shared: only what is ours there is taken from others."""
    tmp_path.chmod(0o755)
    (tmp_path / "site").mkdir(mode=0o755)
    settings = Settings(home=tmp_path)
    schema.upgrade(settings.store_url, settings.environment)
    (tmp_path / "saga.db").chmod(0o644)
    made_home(settings)
    assert [mode(it) for it in (tmp_path, tmp_path / "site", tmp_path / "saga.db")] == [0o755, 0o755, 0o600]


def test_a_database_elsewhere_is_private_and_its_folder_is_somebodys(tmp_path: Path) -> None:
    """SAGA_DATABASE_URL names a file in a shared folder."""
    tmp_path.chmod(0o755)
    settings = Settings(home=tmp_path / "home", database_url=f"sqlite:///{tmp_path / 'x.db'}")
    schema.upgrade(settings.store_url, settings.environment)
    assert mode(tmp_path / "x.db") == 0o600
    (tmp_path / "x.db").chmod(0o644)
    opened_store(settings).close()
    assert (mode(tmp_path / "x.db"), mode(tmp_path)) == (0o600, 0o755)


def test_a_file_that_is_no_database_keeps_its_rights(tmp_path: Path) -> None:
    """SAGA_DATABASE_URL names somebody's file by mistake."""
    (notes := tmp_path / "notes.txt").write_text("milk")
    notes.chmod(0o644)
    with pytest.raises(UsageError):
        opened_store(Settings(home=tmp_path / "home", database_url=f"sqlite:///{notes}"))
    assert mode(notes) == 0o644


def test_a_home_that_is_a_file_is_said_with_a_reason(tmp_path: Path) -> None:
    """And not with None."""
    (tmp_path / "tea.py").write_text("")
    with pytest.raises(UsageError, match=r"SAGA_HOME: .*tea\.py cannot be a folder: .*tea\.py is no folder"):
        made_home(Settings(home=tmp_path / "tea.py"))


def test_the_database_of_a_service_is_private(tmp_path: Path, umask: None) -> None:
    """With its folder and what SQLite puts beside it; one of a release before is closed when it is opened."""
    file = tmp_path / "services" / "inventory.db"
    for _ in range(2):
        database = Database(f"sqlite:///{file}")
        database.create(MetaData())
        assert open_to_others(file.parent) == []
        database.close()
        file.chmod(0o644)


def test_what_is_not_ours_to_change_is_left(tmp_path: Path) -> None:
    """A link is not followed, and what is gone is no error."""
    (tmp_path / "target").touch(0o644)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert not keep_private(tmp_path / "link")
    assert not keep_private(tmp_path / "gone")
    assert mode(tmp_path / "target") & 0o044


def test_the_store_opens_what_was_made(sqlite_url: str) -> None:
    """An empty file that is made first is a database to SQLite."""
    schema.upgrade(sqlite_url)
    open_store(sqlite_url).close()
    assert json.dumps(schema.current(sqlite_url)) != "null"
