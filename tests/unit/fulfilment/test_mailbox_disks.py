"""What the disk does while a mail is put: the order of flushes and names, no hard links, no room. Each disk is a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import errno, os, stat, sys
from email.message import EmailMessage
from pathlib import Path
from saga.fulfilment.mailbox import put
folder = Path(sys.argv[1])
def mail(text):
    message = EmailMessage()
    message.set_content(text)
    return message
def names():
    return sorted(path.name for path in folder.iterdir())
def link_refused(code):
    def link(*paths):
        raise OSError(code, os.strerror(code))
    os.link = link
"""


def said_on(folder: Path, script: str) -> list[str]:
    """What a process of that script prints, line by line; its mailbox is `folder`."""
    command = [sys.executable, "-c", BEGIN + script, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


NOTING = """
def fsync(descriptor):
    found = os.fstat(descriptor)
    shown = [name for name in names() if name.endswith(".eml")]
    print(*(["folder"] if stat.S_ISDIR(found.st_mode) else ["file", found.st_size]), *shown)
os.fsync = fsync
put(folder, "k1", mail("first"))
"""


def test_a_mail_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    """A power cut finds either no mail or all of it: the file is flushed whole while no name shows it, and then the folder with
    the name in it."""
    said = said_on(tmp_path, NOTING)
    assert said == [f"file {(tmp_path / 'k1.eml').stat().st_size}", "folder k1.eml"]


WITHOUT_LINKS = """
link_refused(errno.CODE)
for text in ("first", "second"):
    print(put(folder, "k1", mail(text)).read_text().splitlines()[-1])
print(*names())
"""


@pytest.mark.parametrize("code", ["EPERM", "EOPNOTSUPP", "ENOSYS"])
def test_a_file_system_without_hard_links_takes_mails_too(tmp_path: Path, code: str) -> None:
    """FAT, a network folder, FUSE: the mail gets its name by a move, and a repeat leaves it as it is."""
    script = WITHOUT_LINKS.replace("CODE", code)
    assert said_on(tmp_path, script) == ["first", "first", "k1.eml"]


FULL = """
link_refused(errno.ENOSPC)
try:
    put(folder, "k1", mail("first"))
except OSError as error:
    print(error.strerror, *(name for name in names() if name.endswith(".eml")))
"""


def test_a_disk_that_refuses_the_name_keeps_no_mail(tmp_path: Path) -> None:
    """What is not the want of hard links is told, and leaves nothing under the name."""
    assert said_on(tmp_path, FULL) == ["No space left on device"]


STICKY = """
unlink = Path.unlink
def refused(path, missing_ok=False):
    if not missing_ok:
        raise OSError(errno.EIO, "no")
    unlink(path, missing_ok=True)
Path.unlink = refused
filed = put(folder, "k1", mail("first")).rename(folder / "filed.eml")
print(len(names()))
put(folder, "k1", mail("second"))
print(filed.read_text().splitlines()[-1])
"""


def test_a_draft_that_is_a_second_name_of_a_mail_is_not_written_into(tmp_path: Path) -> None:
    """The draft could not be dropped once the mail had its name, which is no fault of the mail; it was filed elsewhere since.
    The next mail under the key is written into a new file."""
    assert said_on(tmp_path, STICKY) == ["2", "first"]
