"""Returns in the audit: what came back of an order, taken from what the return asked for and from the ledgers.

Rules of this file: an order is judged together with its returns. What a completed return refunded and put back on the shelf is
taken off what the order must have paid and shipped; while a return is under way its order counts as in flight. Each return is
judged by its own keys as well, so that two that are wrong by the same sum do not make up for each other. What a return must have
refunded is what its input says; and what all of them refunded is held against the order's own journal, which alone says what
was paid. A return that was rolled back has moved nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from saga.core import transitions as t
from saga.core.fold import SagaState
from saga.core.outcomes import OutcomeCode
from saga.fulfilment.models import Order
from saga.fulfilment.money import shown
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import ReturnOrder
from saga.runtime.readback import read_kept
from saga.surfaces.ledgers import PAYMENT, SHIPPING, STOCK, Ledgers, Movement

BOUGHT, VOIDED = "return_bought", "return_voided"
MERCHANT, CUSTOMER, SHIPPED, AVAILABLE = "merchant", "customer:", "shipped", "available"


@dataclass(frozen=True, slots=True)
class ReturnRecord:
    """What the journal of one return promises."""

    return_id: str
    saga_id: str
    order_id: str
    is_completed: bool
    is_in_flight: bool
    refund: int
    """Goods and tax, as its input says."""
    currency: str
    pieces: Mapping[str, int]
    label_key: str = ""
    refund_key: str = ""
    restock_key: str = ""
    confirm_key: str = ""
    is_told_optional: bool = False


def order_id_of(state: SagaState) -> str:
    """The order that the participants know an effect of this saga by; of a return that cannot be read its own id."""
    if state.definition == return_order.name:
        with suppress(ValidationError):
            return read_kept(ReturnOrder, state.input.data).order_id
    return state.entity


def return_record(state: SagaState, started: Mapping[str, t.AttemptStarted], *, is_in_flight: bool) -> ReturnRecord:
    """Raises pydantic's `ValidationError` for an input or an answer that is none of `return_order`'s."""
    wanted = read_kept(ReturnOrder, state.input.data)
    keys = {node: it.wire_key or "" for node, it in started.items()}
    return ReturnRecord(
        return_id=wanted.return_id,
        saga_id=state.saga_id,
        order_id=wanted.order_id,
        is_completed=state.status == "completed",
        is_in_flight=is_in_flight,
        refund=wanted.total,
        currency=wanted.currency,
        pieces=wanted.pieces,
        label_key=keys.get("book_return_label:a", ""),
        refund_key=keys.get("refund_payment:a", ""),
        restock_key=keys.get("restock_inventory:a", ""),
        confirm_key=keys.get("confirm_return:a", ""),
        is_told_optional=state.node("confirm_return:a").code is OutcomeCode.REJECTED,
    )


def label_faults(record: ReturnRecord, movements: Iterable[Movement]) -> Iterator[str]:
    """A completed return has one label for the way back, one that was rolled back none that was not voided."""
    own = [it for it in movements if it.service == SHIPPING and it.target in (BOUGHT, VOIDED)]
    bought = {it.unit for it in own if it.key == record.label_key and it.target == BOUGHT}
    voided = {it.unit for it in own if it.target == VOIDED}
    left = bought - voided
    if record.is_completed and len(left) != 1:
        yield f"return {record.return_id} is completed and has {len(left)} labels for the way back"
    elif not record.is_completed and left:
        yield f"return {record.return_id} was rolled back and has label {min(left)} for the way back"


def refund_fault(record: ReturnRecord, ledgers: Ledgers) -> str:
    """What went back under the key of its refund is what its input says, and nothing when it was rolled back."""
    paid = [it for it in ledgers.by_key.get(record.refund_key, ()) if it.service == PAYMENT]
    refunded = sum(it.quantity for it in paid if it.target.startswith(CUSTOMER))
    must = record.refund if record.is_completed else 0
    if refunded == must:
        return ""
    has, wants = shown(refunded, record.currency), shown(must, record.currency)
    return f"return {record.return_id} refunded {has} and must have refunded {wants}"


def refunds_fault(order: Order, tax: int, kept: Mapping[str, int], movements: Iterable[Movement]) -> str:
    """All refunds of a completed order are at most its goods and its tax, and just that once nothing of it is `kept`."""
    target = f"{CUSTOMER}{order.order_id}"
    back = [it for it in movements if it.service == PAYMENT and (it.source, it.target) == (MERCHANT, target)]
    refunded, paid = sum(it.quantity for it in back), order.goods + tax
    has, wants = shown(refunded, order.currency), shown(paid, order.currency)
    if refunded > paid:
        return f"{has} were refunded, and its goods and tax are {wants}"
    if refunded < paid and not any(kept.values()):
        return f"all of it came back and {has} were refunded; its goods and tax are {wants}"
    return ""


def restock_faults(record: ReturnRecord, ledgers: Ledgers) -> Iterator[str]:
    """What went on the shelf under the key of its restock is its pieces, and nothing when it was rolled back."""
    found: dict[str, int] = {}
    for it in ledgers.by_key.get(record.restock_key, ()):
        if it.service == STOCK and (it.source, it.target) == (SHIPPED, AVAILABLE):
            found[it.unit] = found.get(it.unit, 0) + it.quantity
    wanted = record.pieces if record.is_completed else {}
    for sku in sorted({*found, *wanted}):
        if found.get(sku, 0) != wanted.get(sku, 0):
            yield (
                f"return {record.return_id} put {found.get(sku, 0)} of {sku} on the shelf again, "
                f"and {wanted.get(sku, 0)} must be"
            )


def told_fault(record: ReturnRecord, mails: list[str]) -> str:
    """A completed return has exactly one mail, one that was rolled back none."""
    if not record.is_completed:
        return f"return {record.return_id} is rolled back, but the customer was told of a refund" if mails else ""
    if len(mails) > 1:
        return f"return {record.return_id} has {len(mails)} mails: {', '.join(mails)}"
    if not mails and not record.is_told_optional:
        return f"return {record.return_id} has no mail {record.confirm_key}.eml"
    return "" if not mails or mails[0] == record.confirm_key else f"its mail {mails[0]} has not the step's key"
