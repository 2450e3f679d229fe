"""The customer is told once per key: a repeat is the same file, and a crash leaves no half of one."""

import email
import subprocess
import sys
import threading
from email.message import EmailMessage, Message
from email.policy import SMTP, Policy, default
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.errors import NotSent, Rejected
from saga.fulfilment import telling
from saga.fulfilment.email_address import LOCAL, mail_address
from saga.fulfilment.mailbox import SENDER, confirmation, letter, put, recipient
from saga.fulfilment.models import Order, OrderLine, OrderPrice, Shipment
from tests.ids import IDS
from tests.waiting import wait_until

KEY = "a2345678b2345678c2345678d2345678"
PRICE = OrderPrice(goods=350, tax=70, freight=495, total=915, currency="GBP")
SHIPMENT = Shipment(shipment_id="s1", tracking="T-1", carrier="DHL")


DOMAINS = st.from_regex(r"[A-Za-z0-9-]{1,20}(\.[A-Za-z0-9-]{1,20}){1,3}", fullmatch=True) | st.sampled_from(
    ["bücher.example", "例え.テスト", "STRASSE.example"]
)
ADDRESSES = st.builds("{}@{}".format, st.from_regex(LOCAL, fullmatch=True), DOMAINS).filter(
    lambda it: "=?" not in it and len(it) <= 200
)


def order(address: str | None = "zoe@example.org") -> Order:
    return Order.model_validate(
        {
            "order_id": "SO-1",
            "customer_id": "C7",
            "currency": "GBP",
            "country": "United Kingdom",
            "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
            "lines": [{"sku": "A", "quantity": 7, "unit_price": 50}],
            "payment_method": "pm_card",
            "email": address,
        }
    )


def mail() -> EmailMessage:
    return confirmation(order(), PRICE, SHIPMENT, KEY)


def test_the_mail_is_one_that_a_mail_program_reads(tmp_path: Path) -> None:
    """What lies in the folder parses as RFC 5322 without a defect and says what was bought for how much."""
    path = put(tmp_path / "mailbox", KEY, mail())
    read = email.message_from_bytes(path.read_bytes(), policy=SMTP)
    assert path.name == f"{KEY}.eml"
    assert not read.defects
    assert (read["Message-ID"], read["To"]) == (f"<{KEY}@shop.invalid>", "zoe@example.org")
    assert read["Date"].datetime.tzinfo is not None
    body = read.get_body()
    assert body is not None
    text = body.get_content()
    assert [part for part in ("£3.50", "£0.70", "£4.95", "£9.15", "T-1", "7 items") if part not in text] == []


def test_one_item_is_one() -> None:
    """A parcel of one piece is not one of 1 items."""
    one = order().model_copy(update={"lines": (OrderLine(sku="A", quantity=1, unit_price=350),)})
    assert "Your parcel of 1 item is on" in confirmation(one, PRICE, SHIPMENT, KEY).get_content()


@given(ADDRESSES)
def test_the_header_names_the_customer_and_nobody_else(address: str) -> None:
    """Whatever address an order may have, a mail program reads that one in the mail, to the letter."""
    read = email.message_from_bytes(letter(KEY, SENDER, address, "Hello").as_bytes(), policy=default)
    assert [it.addr_spec for it in read["To"].addresses] == [mail_address(address)]


@given(IDS)
def test_a_customer_without_an_address_has_a_name_that_is_one(customer_id: str) -> None:
    """Whatever the id of a customer is, the header of his mail is one name under .invalid."""
    read = email.message_from_bytes(
        letter(KEY, SENDER, recipient(None, customer_id), "Hello").as_bytes(), policy=default
    )
    [it] = read["To"].addresses
    plain = customer_id.isascii() and customer_id.replace("-", "").isalnum()
    assert it.domain == "customers.invalid"
    assert not plain or it.username == customer_id
    assert it.username.isascii()
    assert len(it.username) <= 64


@pytest.mark.parametrize(
    "address",
    ["=?utf-8?q?=0A?=@example.org", "=?utf-8?q?eve=40evil.org=2C_zoe?=@example.org", "=?x?q?=41?=@example.org"],
)
def test_an_address_that_would_be_read_as_another_gets_no_mail(address: str) -> None:
    """Of an order that was accepted by an earlier release: it completes with a warning, and nobody else is written to."""
    with pytest.raises(Rejected, match="unusable_address"):
        letter(KEY, SENDER, address, "Hello")


def test_an_order_without_an_address_is_written_to_nobody() -> None:
    """A name under .invalid cannot be delivered by mistake."""
    assert confirmation(order(None), PRICE, SHIPMENT, KEY)["To"] == "C7@customers.invalid"


def test_a_repeat_changes_nothing(tmp_path: Path) -> None:
    """A second attempt under the key leaves the very bytes of the first; another key is another mail."""
    first = put(tmp_path, KEY, mail())
    before = first.read_bytes(), first.stat().st_mtime_ns
    again = mail()
    again.replace_header("Subject", "another text")
    assert put(tmp_path, KEY, again) == first
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    put(tmp_path, "other", mail())
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{KEY}.eml", "other.eml"]


class Overtaken(EmailMessage):
    """A mail at whose writing another process puts its own under the same key."""

    def __init__(self, folder: Path, first: EmailMessage) -> None:
        super().__init__()
        self.set_content("the second one")
        self._folder, self._first = folder, first

    def as_bytes(self, unixfrom: bool = False, policy: "Policy[Message] | None" = None) -> bytes:
        # The thread is another one, so its draft has another name, as that of another process has.
        other = threading.Thread(target=put, args=(self._folder, KEY, self._first))
        other.start()
        other.join(30)
        return super().as_bytes(unixfrom, policy)


def test_of_two_processes_the_first_mail_stays(tmp_path: Path) -> None:
    """Both saw no mail under the key. The later one's draft is thrown away, and the bytes of the first stand."""
    first = mail()
    path = put(tmp_path, KEY, Overtaken(tmp_path, first))
    assert path.read_bytes() == first.as_bytes()
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import itertools, sys
from email.message import EmailMessage
from pathlib import Path
from saga.fulfilment.mailbox import put
message = EmailMessage()
message.set_content("line\\n" * 20_000)
print(len(message.as_bytes()), flush=True)
for number in itertools.count():
    put(Path(sys.argv[1]), f"k{number}", message)
"""


def test_kill_9_leaves_whole_mails_or_none(tmp_path: Path) -> None:
    """A process is killed while it writes one mail after another: every `.eml` is whole, and a repeat goes on."""
    folder = tmp_path / "mailbox"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            size = int(writer.stdout.readline())
            wait_until(lambda: len(list(folder.glob("*.eml"))) >= 20, 20.0, what="20 mails")
        finally:
            writer.kill()
    mails = list(folder.glob("*.eml"))
    assert {path.stat().st_size for path in mails} == {size}
    put(folder, f"k{len(mails)}", mail())
    assert len(list(folder.glob("*.eml"))) == len(mails) + 1


def test_what_a_dead_process_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    """Half a draft under the key is no mail, and the next attempt writes the whole one beside it."""
    (tmp_path / f".{KEY}.1.1.part").write_bytes(b"Message-ID: <a2")
    assert list(tmp_path.glob("*.eml")) == []
    assert put(tmp_path, KEY, mail()).read_bytes().startswith(b"Message-ID: <a2345678b")


def test_a_reader_never_sees_half_a_mail(tmp_path: Path) -> None:
    """Eight writers of one key and a reader that looks all the time: every file seen under the name is whole."""
    message = mail()
    message.set_content("line\n" * 20_000)
    size, stop, seen = len(message.as_bytes()), threading.Event(), set[int]()

    def watch() -> None:
        while not stop.is_set():
            seen.update(path.stat().st_size for path in tmp_path.glob("*.eml"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    writers = [threading.Thread(target=put, args=(tmp_path, KEY, message)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    stop.set()
    watcher.join(30)
    assert seen <= {size}
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [size]


@pytest.mark.parametrize("key", ["", "../x", "a/b", "a.b", "a" * 65, "a\x00"])
def test_a_key_cannot_lead_out_of_the_folder(tmp_path: Path, key: str) -> None:
    """The name of a file is made of a key's characters only."""
    with pytest.raises(ValueError, match="cannot name a mail"):
        put(tmp_path, key, mail())
    assert list(tmp_path.iterdir()) == []


FAILING_DISK = """
import os, stat, sys
from email.message import EmailMessage
from saga.errors import StepError
from saga.fulfilment import telling
failures, flush = [1, 2], os.fsync
def fsync(descriptor):
    if failures and stat.S_ISDIR(os.fstat(descriptor).st_mode):
        failures.pop()
        raise OSError(28, "No space left on device")
    flush(descriptor)
os.fsync = fsync
for _ in range(3):
    try:
        telling.tell(EmailMessage(), None, "k1")
        print("kept")
    except StepError as error:
        print(f"{type(error).__name__}: {error}")
"""


def test_a_mail_that_is_there_is_never_called_not_sent(tmp_path: Path) -> None:
    """On a disk that twice fails to flush the folder: the mail has its name, nobody knows whether it survives, and the repeat
    flushes again before it says that it does."""
    settings = {"SAGA_MAILBOX": str(tmp_path / "mailbox"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", FAILING_DISK], env=settings, capture_output=True, text=True, check=True
    )
    first, second, third = done.stdout.splitlines()
    assert first.startswith("Unknown: SAGA_MAILBOX: a mail is in ")
    assert first.endswith("no space left on device")
    assert (second, third) == (first, "kept")
    assert [it.name for it in (tmp_path / "mailbox").iterdir()] == ["k1.eml"]


def test_a_mail_that_got_no_name_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails before the mail has its name leaves no mail."""
    (tmp_path / "mailbox").write_text("no folder")
    monkeypatch.setenv("SAGA_MAILBOX", str(tmp_path / "mailbox"))
    monkeypatch.delenv("SAGA_SMTP_URL", raising=False)
    with pytest.raises(NotSent, match="SAGA_MAILBOX: no mail can be put into"):
        telling.tell(mail(), None, KEY)
