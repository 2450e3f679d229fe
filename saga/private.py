"""Folders and files for the user of this process alone: they hold names, addresses and e-mails of customers.

Rules of this file: the rights are given when the thing is made, whatever the umask, so there is no moment at which somebody else
could open it; `keep_private` takes them from others where a release before made it without. What a database puts beside its file
(`-wal`, `-shm`, `-journal`) gets the rights of the file, as SQLite does it.
"""

import os
import stat
from pathlib import Path

FOLDER, FILE = 0o700, 0o600
OTHERS = 0o077


def make_private_folder(folder: Path) -> None:
    """Make the folder, and those above it that are missing; what is there stays as it is. Raises `OSError`."""
    for one in reversed([folder, *folder.parents]):
        try:
            one.mkdir(FOLDER)
        except FileExistsError:
            continue
        one.chmod(FOLDER)  # a umask may have taken rights from its owner too
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")


def make_private_file(path: Path) -> None:
    """Make the file, empty, for a library that would make it with the rights of the umask; one that is there stays."""
    os.close(private(path, os.O_CREAT | os.O_RDWR))


def private(path: str | Path, flags: int) -> int:
    """`open(path, mode, opener=private)`: a file that is made thereby is private."""
    return os.open(path, flags | os.O_CLOEXEC, FILE)


def keep_private(path: Path) -> bool:
    """Take the rights of others from a file or folder of this user; whether there were any to take."""
    try:
        found = path.lstat()
        if not found.st_mode & OTHERS or found.st_uid != os.geteuid() or stat.S_ISLNK(found.st_mode):
            return False
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
    except OSError:  # it is gone, or its file system knows no rights
        return False
    return True
