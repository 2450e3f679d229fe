"""`saga mailbox`: what lies in the folder is listed and read as it was sent, by the order that it is about."""

import json
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from saga.clock import SystemClock
from saga.fulfilment.mailbox import confirmation, put
from saga.fulfilment.models import Order, OrderLine, OrderPrice, Shipment
from saga.fulfilment.return_mail import refund_notice
from saga.fulfilment.returns import ReturnLabel, ReturnOrder, ReturnPrice
from saga.surfaces.cli.commands import app
from saga.surfaces.mails import latest_mails, mails_about
from tests.e2e.orders import order

PRICE = OrderPrice(goods=350, tax=70, freight=495, total=915, currency="GBP")
SHIPMENT = Shipment(shipment_id="s1", tracking="T-1", carrier="parcelway")


def confirmed(folder: Path, order_id: str, key: str, *, days_ago: int = 0) -> EmailMessage:
    """The mail of an order, put into the folder."""
    mail = confirmation(Order.model_validate(order(order_id, email="zoe@example.org")), PRICE, SHIPMENT, key)
    if days_ago:
        del mail["Date"]
        mail["Date"] = SystemClock().now() - timedelta(days=days_ago)
    put(folder, key, mail)
    return mail


def refunded(folder: Path, order_id: str, return_id: str, key: str) -> None:
    """The mail of a return, put into the folder."""
    wanted = ReturnOrder(
        return_id=return_id,
        order_id=order_id,
        customer_id="C-1",
        currency="GBP",
        country="Germany",
        lines=(OrderLine(sku="MUG", quantity=1, unit_price=450),),
        tax=90,
        shipment_id="s1",
        capture_id="c1",
        reason="broken",
    )
    price = ReturnPrice(goods=450, tax=90, total=540, currency="GBP")
    label = ReturnLabel(return_label_id="l1", tracking="T-2")
    put(folder, key, refund_notice(wanted, price, label, key, "Orders <orders@shop.invalid>"))


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["mailbox", *arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mailbox of the settings, not there yet."""
    monkeypatch.setenv("SAGA_MAILBOX", str(tmp_path / "mails"))
    return tmp_path / "mails"


def test_the_list_is_newest_first(folder: Path) -> None:
    """When, about what, to whom, under which Message-ID; the limit takes the newest."""
    confirmed(folder, "SO-1", "a" * 32, days_ago=1)
    confirmed(folder, "SO-2", "b" * 32)
    lines = asked().stdout.splitlines()
    assert [line[20:].strip() for line in lines[::2]] == [
        "SO-2  Your order SO-2 is on its way",
        "SO-1  Your order SO-1 is on its way",
    ]
    assert lines[1] == f"   to zoe@example.org   <{'b' * 32}@shop.invalid>"
    assert [mail.order for mail in latest_mails(folder, 2)] == ["SO-2", "SO-1"]


def test_a_mail_reads_as_it_was_sent(folder: Path) -> None:
    """The five headers and the text, its letters decoded; nothing of another order."""
    sent = confirmed(folder, "SO-1", "a" * 32)
    confirmed(folder, "SO-10", "b" * 32)
    out = asked("SO-1").stdout
    head, _, text = out.partition("\n\n")
    assert head.splitlines() == [
        "From:       Orders <orders@shop.invalid>",
        "To:         zoe@example.org",
        "Subject:    Your order SO-1 is on its way",
        f"Date:       {sent['Date']}",
        f"Message-ID: <{'a' * 32}@shop.invalid>",
    ]
    assert "Total     £9.15\n" in text
    assert "SO-10" not in out


def test_a_return_belongs_to_its_order(folder: Path) -> None:
    """Asked for by the order, the oldest first; by the return or a Message-ID it is the one mail."""
    confirmed(folder, "SO-1", "a" * 32, days_ago=1)
    refunded(folder, "SO-1", "SO-1-R1", "b" * 32)
    found = [(mail.order, mail.return_id) for mail in mails_about(folder, "SO-1")]
    assert found == [("SO-1", None), ("SO-1", "SO-1-R1")]
    for reference in ("SO-1-R1", f"<{'b' * 32}@shop.invalid>", f"{'b' * 32}@shop.invalid"):
        assert [mail.return_id for mail in mails_about(folder, reference)] == ["SO-1-R1"]


def test_a_message_id_opens_one_file(folder: Path) -> None:
    """The key of the mail names its file: no other one is opened (here one that cannot be), and one of a foreign name is found."""
    sent = confirmed(folder, "SO-1", "a" * 32)
    (folder / "unreadable.eml").mkdir()
    assert [mail.order for mail in mails_about(folder, str(sent["Message-ID"]))] == ["SO-1"]
    (folder / "unreadable.eml").rmdir()
    (folder / f"{'a' * 32}.eml").rename(folder / "moved.eml")
    assert [mail.order for mail in mails_about(folder, str(sent["Message-ID"]))] == ["SO-1"]


def test_json_has_all_of_it(folder: Path) -> None:
    """One array, or one mail a line; keys in one style, instants with their offset."""
    confirmed(folder, "SO-1", "a" * 32)
    (mail,) = json.loads(asked("-o", "json").stdout)
    assert json.loads(asked("SO-1", "-o", "jsonl").stdout) == mail
    assert set(mail) == {"sent_at", "from", "to", "subject", "message_id", "order", "return", "text"}
    assert (mail["order"], mail["return"], mail["sent_at"][-6:]) == ("SO-1", None, "+00:00")
    assert mail["text"].startswith("Thank you for your order SO-1.\n\nGoods     £3.50\n")


def test_no_mail_is_not_found(folder: Path) -> None:
    """Exit code 3 and the folder, which is not made; JSON stays JSON."""
    for arguments, out, says in (((), "", "no mail in"), (("SO-1", "-o", "json"), "[]\n", "no mail about SO-1 in")):
        done = asked(*arguments)
        assert (done.exit_code, done.stdout) == (3, out)
        assert done.stderr == f"saga: {says} {folder}\n"
    assert not folder.exists()


def test_with_a_mail_server_they_go_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said where, without the password; what lay in the folder before can still be read."""
    confirmed(folder, "SO-1", "a" * 32)
    monkeypatch.setenv("SAGA_SMTP_URL", "smtps://shop:s3cret@mail.example.org")
    monkeypatch.setenv("SAGA_MAIL_FROM", "orders@example.org")
    done = asked("SO-1")
    assert (done.exit_code, "Your order SO-1 is on its way" in done.stdout) == (0, True)
    assert done.stderr.startswith("saga: mails go to smtps://mail.example.org:465 (SAGA_SMTP_URL)")
    assert "s3cret" not in done.stderr


def test_what_is_no_mail_of_ours_is_listed_with_dashes(folder: Path) -> None:
    """A file without headers, and a draft of a crash, which is no mail."""
    folder.mkdir()
    (folder / "odd.eml").write_bytes(b"\xff\x00 no header at all\n\nDate: never\n")
    (folder / ".draft.1.2.part").write_text("Subject: half")
    assert asked().stdout.splitlines() == ["–  –  –", "   to –   –"]


def test_the_longest_id_is_found(folder: Path) -> None:
    """An id whose subject takes two lines; and of the ids that hold it only its own mail is told."""
    longest = "SO-" + "9" * 61
    confirmed(folder, longest, "aaa")
    confirmed(folder, longest[:-1], "bbb")
    assert b"\n " in (folder / "aaa.eml").read_bytes().partition(b"\r\n\r\n")[0], "no header is folded"
    assert [mail.order for mail in mails_about(folder, longest)] == [longest]
    assert [mail.order for mail in mails_about(folder, longest[:-1])] == [longest[:-1]]
