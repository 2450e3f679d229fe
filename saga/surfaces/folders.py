"""The folder of a SQLite journal: made where it is missing, and refused by name before a database meets what it cannot write."""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from saga.core.definition import Saga
from saga.errors import UsageError
from saga.private import keep_private, make_private_folder
from saga.settings import Settings
from saga.store.connecting import sqlite_path
from saga.surfaces.visible import one_line

SQLITE = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm", "-journal")
TELLING = {"fulfil_order": "confirm_order", "return_order": "confirm_return"}
"""The sagas of the product that send mails, and the step of each that does."""


OURS = re.compile(
    r"saga\.db(-wal|-shm|-journal)?|stack\.(json|lock|part)|hints\.sock(\.\d+)?|(worker|services)\.log|mailbox|services|mocks|broker|demo-\d+"
)
"""What lies in a home; the folders of it have more in them."""


def made_home(settings: Settings) -> None:
    """Make the folder of embedded mode. Raises `UsageError` where that cannot be, or nothing can be written into it."""
    _make_writable(settings.home, "SAGA_HOME")
    _keep_home_private(settings.home)


def made_journal_folder(settings: Settings) -> None:
    """Make the folder of the journal's file, whichever setting names it; a database elsewhere has none. Raises
    `UsageError` where that cannot be, or folder or file cannot be written."""
    if settings.store_url.startswith("sqlite"):
        path = sqlite_path(settings.store_url)
        setting = "SAGA_DATABASE_URL" if settings.database_url else "SAGA_HOME"
        _make_writable(path.parent, setting)
        if path.exists() and not os.access(path, os.W_OK):
            raise UsageError(f"{setting}: the file {path.absolute()} cannot be written")
        if path.parent.resolve() == settings.home.resolve():
            _keep_home_private(settings.home)
        else:
            of_journal = (path, *(path.with_name(path.name + end) for end in BESIDE)) if _is_database(path) else ()
            _told([it for it in of_journal if keep_private(it)])


def refuse_unwritable_mailbox(
    settings: Settings, sagas: Iterable[Saga[Any]], queues: frozenset[str] | None = None
) -> None:
    """Whoever tells customers (one of `sagas`, on one of `queues`; None: on all) and has no mail server puts mails into a
    folder. Raises `UsageError` when that cannot be. Nothing is made: the first mail does that."""
    told_on = {step.queue for saga in sagas for step in saga.order if step.name == TELLING.get(saga.name)}
    if settings.smtp_url is not None or not (told_on if queues is None else told_on & queues):
        return
    folder = (settings.mailbox or settings.home).absolute()
    existing = next(it for it in (folder, *folder.parents) if os.path.lexists(it))
    if not existing.is_dir():
        raise UsageError(f"{settings.mail_setting}: {folder} cannot be a folder: {existing} is none")
    try:
        _write_into(existing)
    except OSError as error:
        raise _unwritable(settings.mail_setting, folder, error) from error


def refuse_unwritable_journal(settings: Settings) -> None:
    """The same for a journal that is only opened: no folder is made for it. Where there is none, its database says so."""
    if settings.store_url.startswith("sqlite") and sqlite_path(settings.store_url).parent.is_dir():
        made_journal_folder(settings)


def _keep_home_private(home: Path) -> None:
    """Take the rights of others from what is ours in a home, and from the home unless somebody keeps other things in it."""
    inside = list(home.iterdir())
    ours = [it for it in inside if OURS.fullmatch(it.name)]
    _told([it for it in (*([home] if len(ours) == len(inside) else []), *ours) if keep_private(it)])


def _is_database(path: Path) -> bool:
    """Whether it is ours to take rights from: a URL may name somebody's file by mistake."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) in (SQLITE, b"")
    except OSError:
        return False


def _told(mended: Sequence[Path]) -> None:
    if mended:
        more = f" and {len(mended) - 1} more" if len(mended) > 1 else ""
        what = f"{mended[0]}{more} could be read by other users of this machine; now only by you"
        print(one_line(f"saga: {what}"), file=sys.stderr, flush=True)


def _make_writable(folder: Path, setting: str) -> None:
    try:
        make_private_folder(folder)
        _write_into(folder)  # SQLite puts files beside its own, also to read
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{setting}: {folder} cannot be a folder: {error.strerror or error}") from error
    except OSError as error:
        raise _unwritable(setting, folder.absolute(), error) from error


def _write_into(folder: Path) -> None:
    """The one way to ask: a right to write says nothing about a file system that is read-only."""
    with TemporaryFile(dir=folder):
        pass


def _unwritable(setting: str, folder: Path, error: OSError) -> UsageError:
    why = (error.strerror or str(error)).lower()
    return UsageError(f"{setting}: the folder {folder} cannot be written: {why}")
