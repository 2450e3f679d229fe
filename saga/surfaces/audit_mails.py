"""What customers were told: the mails of a mailbox, by the order or the return that they are about (invariant I6)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from email.policy import default as mail_policy
from pathlib import Path

from saga.surfaces import invariants as rules
from saga.surfaces.audit_returns import ReturnRecord, told_fault
from saga.surfaces.invariants import Ending, Invariant, OrderRecord, Violation

OF_ORDER = ("Your order ", " is on its way")
OF_RETURN = ("Your return ", " was refunded")


@dataclass
class Mails:
    """Id → the names of its mails; and the mails whose subject names neither an order nor a return."""

    orders: dict[str, list[str]] = field(default_factory=dict)
    returns: dict[str, list[str]] = field(default_factory=dict)
    nameless: list[str] = field(default_factory=list)


def read_mails(mailbox: Path) -> Mails:
    """Every mail of the folder. Only headers are read."""
    parser, mails = BytesHeaderParser(policy=mail_policy), Mails()
    for path in sorted(mailbox.glob("*.eml")):
        with path.open("rb") as file:
            subject = str(parser.parse(file)["Subject"] or "")
        for (before, after), found in ((OF_ORDER, mails.orders), (OF_RETURN, mails.returns)):
            if subject.startswith(before) and subject.endswith(after):
                found.setdefault(subject[len(before) : -len(after)], []).append(path.stem)
                break
        else:
            mails.nameless.append(path.name)
    return mails


def mail_faults(
    mails: Mails, records: Mapping[str, OrderRecord], returns: Sequence[ReturnRecord]
) -> Iterator[Violation]:
    """A confirmation for every completed order and every completed return, and for nothing else."""
    for name in mails.nameless:
        yield Violation(Invariant.TOLD, "", "", f"mail {name} names no order in its subject")
    for order_id, record in records.items():
        if record.ending is not Ending.UNREADABLE and (why := rules.told_fault(record, mails.orders.get(order_id, []))):
            yield record.fault(Invariant.TOLD, why)
    for one in returns:
        if not one.is_in_flight and (why := told_fault(one, mails.returns.get(one.return_id, []))):
            yield Violation(Invariant.TOLD, one.order_id, one.saga_id, why)
    for order_id, names in sorted(mails.orders.items()):
        if order_id not in records:
            yield Violation(Invariant.TOLD, order_id, "", f"mail {names[0]} confirms an order that no saga knows")
    known = {one.return_id for one in returns}
    for return_id, names in sorted(mails.returns.items()):
        if return_id not in known:
            yield Violation(Invariant.TOLD, "", "", f"mail {names[0]} tells of return {return_id}, which no saga knows")
