"""The confirmation mail, and a folder of mails where no mail server is set: one file per Message-ID.

Protocol: a mail is written to a hidden temporary file, flushed to the disk, and linked to its name in one step, so a
reader of `*.eml` never sees half of one. A mail that is there stays as it is, also between two processes: a link never
replaces. A repeat under the same key changes nothing. A crash may leave a temporary file, which nobody reads. When `put`
returns, the mail survives a power cut.

A file system without hard links (FAT, some network folders) moves the draft to its name instead: of two processes that put
the same key at one moment the later one's mail stays there. It has the same Message-ID.
"""

import errno
import os
import re
import threading
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from saga.clock import SystemClock
from saga.errors import Rejected
from saga.fulfilment.email_address import sent_to
from saga.fulfilment.mail_policy import MAIL
from saga.fulfilment.models import Order, OrderPrice, Shipment
from saga.fulfilment.money import shown
from saga.private import make_private_folder, private

LOCAL_MAX = 64
SENDER = "Orders <orders@shop.invalid>"
KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system without hard links answers to a link (link(2); FUSE says ENOSYS)."""
BODY = """\
Thank you for your order {order_id}.

Goods     {goods}
Tax       {tax}
Delivery  {freight}
Total     {total}

Your parcel of {items} is on its way with {carrier}, tracking number {tracking}.
"""


class NotKept(OSError):
    """The mail is there, and a power cut may still take it away."""


def confirmation(order: Order, price: OrderPrice, shipment: Shipment, key: str, sender: str = SENDER) -> EmailMessage:
    """The mail that confirms an order.

    Its Message-ID is made of `key` and of nothing that a setting changes, so every repeat is the same mail to a reader. Raises
    `Rejected` for an address that a mail program would read as another.
    """
    money = {part: shown(getattr(price, part), price.currency) for part in ("goods", "tax", "freight", "total")}
    message = letter(
        key, sender, recipient(order.email, order.customer_id), f"Your order {order.order_id} is on its way"
    )
    message.set_content(
        BODY.format(
            order_id=order.order_id,
            items=counted(order.item_count),
            carrier=shipment.carrier,
            tracking=shipment.tracking,
            **money,
        )
    )
    return message


def letter(key: str, sender: str, to: str, subject: str) -> EmailMessage:
    """A mail without its text. Raises `Rejected` when a mail program would read another address, or several, in the header."""
    message = EmailMessage(policy=MAIL)
    message["Message-ID"] = f"<{key}@shop.invalid>"
    message["Date"] = format_datetime(SystemClock().now())
    message["From"] = sender
    try:
        message["To"] = sent_to(to)
        is_one = [one.addr_spec for one in message["To"].addresses] == [sent_to(to)]
    except ValueError:  # of the standard library, for an encoded line break
        is_one = False
    if not is_one:
        raise Rejected("unusable_address")
    message["Subject"] = subject
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answer comes back
    return message


def recipient(address: str | None, customer_id: str) -> str:
    """Who the header names; without an address a name under `.invalid` (RFC 2606), which nobody delivers."""
    return address or Address(username=_local(customer_id), domain="customers.invalid").addr_spec


def _local(customer_id: str) -> str:
    """An id as the local part of an address: at most 64 characters of ASCII that need no quotes (RFC 5321 section 4.5.3.1.1)."""
    if not customer_id.isprintable():  # of a model that was not checked: the header refuses it
        return customer_id
    local = quote(customer_id, safe="")
    return local if len(local) <= LOCAL_MAX else sha256(customer_id.encode()).hexdigest()


def counted(items: int) -> str:
    return f"{items} item{'s' if items != 1 else ''}"


def put(folder: Path, key: str, message: EmailMessage) -> Path:
    """Write `message` to `<folder>/<key>.eml`, unless it is there. Idempotent; may run in several processes at once.

    Raises `OSError` for what happens before the mail has its name, and `NotKept` afterwards.
    """
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} cannot name a mail: letters, digits, _ and -, at most 64")
    target = folder / f"{key}.eml"
    if not target.exists():
        _write(folder, target, message)
    try:
        _flush(folder)  # also when the mail is there: whoever put it there may not have come so far
    except OSError as error:
        raise NotKept(error.errno, error.strerror) from error
    return target


def _write(folder: Path, target: Path, message: EmailMessage) -> None:
    make_private_folder(folder)
    draft = folder / f".{target.stem}.{os.getpid()}.{threading.get_ident()}.part"
    draft.unlink(missing_ok=True)  # what a crash left may be a second name of the mail: never write into that
    with open(draft, "wb", opener=private) as file:
        file.write(message.as_bytes())
        file.flush()
        os.fsync(file.fileno())
    _name(draft, target)


def _name(draft: Path, target: Path) -> None:
    """Give the draft its name, unless another process was faster."""
    try:
        os.link(draft, target)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        draft.replace(target)
        return
    with suppress(OSError):  # the mail has its name by now, and nobody reads a draft
        draft.unlink()


def _flush(folder: Path) -> None:
    """A new name survives a power cut only when its folder was flushed too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
