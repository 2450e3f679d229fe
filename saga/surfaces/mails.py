"""The mailbox folder as a person reads it: which mails lie there, about what, and what one says.

Rules of this file: it reads and never writes. Only `*.eml` are mails; a draft of a crash is none. A mail is about the order
or the return that its subject names; one of a return belongs to the order that its text names, too. What a file does not
say is None.
"""

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as mail_policy
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from saga.fulfilment.mailbox import KEY
from saga.surfaces.audit_mails import OF_ORDER, OF_RETURN

PLAIN = re.compile(r"[A-Za-z0-9._@<>-]+")
"""What stands in the bytes of a mail as it is: neither encoded nor folded."""
OTHERWISE = (b"=?utf-8?", b"Subject: Your return ")
"""Where a mail does not hold its ids as they are: in a subject that is not ASCII, and in the text of a return, whose long lines are broken."""
HEADERS = ("From", "To", "Subject", "Date", "Message-ID")


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail of the folder."""

    headers: dict[str, str | None]
    """Those of `HEADERS`; None where the mail lacks one."""
    sent_at: datetime | None
    order: str | None
    """The id of the order, as far as the mail names it."""
    return_id: str | None
    text: str

    def is_about(self, reference: str) -> bool:
        """Whether it is about that order or return, or has that Message-ID, with or without its brackets."""
        message_id = self.headers["Message-ID"] or ""
        return reference in {self.order, self.return_id, message_id, message_id.strip("<>")}

    def to_json(self) -> dict[str, Any]:
        """The whole mail, with keys in one style."""
        return {
            "sent_at": self.sent_at.isoformat() if self.sent_at else None,
            **{name.lower().replace("-", "_"): value for name, value in self.headers.items() if name != "Date"},
            "order": self.order,
            "return": self.return_id,
            "text": self.text,
        }


def mails_about(folder: Path, reference: str) -> list[Mail]:
    """Every mail about that order or return, the oldest first: a conversation is read from its beginning.

    One that is asked for by its Message-ID is read alone. Of the others only those are parsed whose bytes hold the reference.
    """
    key = reference.strip("<>").partition("@")[0]
    if "@" in reference and KEY.fullmatch(key) and (mail := _read(folder / f"{key}.eml")) and mail.is_about(reference):
        return [mail]
    holding = (path for path in _paths(folder) if _holds(path, reference))
    found = (mail for path in holding if (mail := _read(path)) is not None and mail.is_about(reference))
    return sorted(found, key=_sent)


def _holds(path: Path, reference: str) -> bool:
    """Whether the mail may be about it; of one that a mail does not hold as it is only the parsed mail tells."""
    if not PLAIN.fullmatch(reference):
        return True
    try:
        mail = path.read_bytes()
        return reference.strip("<>").encode() in mail or any(it in mail for it in OTHERWISE)
    except FileNotFoundError:  # somebody cleared it up meanwhile
        return False


def latest_mails(folder: Path, limit: int) -> list[Mail]:
    """The newest `limit` mails, newest first. No more than those are read."""
    newest = heapq.nlargest(limit, ((_written(path), path) for path in _paths(folder)))
    return sorted((mail for _, path in newest if (mail := _read(path)) is not None), key=_sent, reverse=True)


def _paths(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.eml")


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # somebody cleared it up meanwhile
        return 0.0


def _sent(mail: Mail) -> tuple[datetime, str]:
    return mail.sent_at or datetime.min.replace(tzinfo=UTC), mail.headers["Message-ID"] or ""


def _read(path: Path) -> Mail | None:
    try:
        with path.open("rb") as file:
            message = BytesParser(EmailMessage, policy=mail_policy).parse(file)
    except FileNotFoundError:
        return None
    headers = {name: str(message[name]) if message[name] is not None else None for name in HEADERS}
    body = message.get_body(("plain",))
    text = body.get_content().replace("\r\n", "\n") if body is not None else ""
    subject = headers["Subject"] or ""
    return_id = _named(subject, OF_RETURN)
    order = _order_of_return(text, return_id) if return_id else _named(subject, OF_ORDER)
    return Mail(headers, _instant(headers["Date"]), order, return_id, text)


def _order_of_return(text: str, return_id: str) -> str | None:
    """The order that the first line of a return's mail names; the line ends with a dot."""
    _, _, order = text.partition("\n")[0].partition(f" for your return {return_id} of order ")
    return order.removesuffix(".") or None


def _named(subject: str, frame: tuple[str, str]) -> str | None:
    before, after = frame
    is_framed = subject.startswith(before) and subject.endswith(after)
    return subject[len(before) : -len(after)] if is_framed else None


def _instant(date: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(date) if date else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found
