"""Where money goes: held, released, taken, given back.

Rules of this file
------------------
- **Double entry.** A row of the ledger is one balanced posting: `amount` goes from the account that is debited to the one
  that is credited. Authorising moves it from `customer:<order_id>` to `holds`, a void moves it back, a capture moves it
  from `holds` to `merchant`, a refund from `merchant` to `customer:<order_id>`. So all accounts sum to zero, per currency.
- An authorization is `held`, then either `voided` or `captured`, and stays so: each change is one conditional update. It is
  captured whole, once. The capture of a voided one answers 409 `voided`, the void of a captured one 409 `captured`; no
  connector takes these for a business rejection.
- Goods that were given away are authorised and captured for 0 like any others: the states are the same, and there is no posting
  and no effect, since no money moves.
- A capture is refunded in parts, never beyond what was captured: the update that adds to `refunded` has the condition, and
  the table has a check. So two refunds at once cannot exceed it, whatever either has read.
- Who is declined is said by the way of paying, so that a test can ask for it: `DECLINED_AT_AUTHORIZATION`,
  `DECLINED_AT_CAPTURE`, also whatever does not begin with `pm_` at authorization. The code is `declined`; why stands
  beside it as `reason`.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Row, select, update

from saga.barrier import BusinessRejection
from services.payment.models import (
    Authorization,
    AuthorizeRequest,
    Capture,
    CaptureRequest,
    CaptureState,
    Refund,
    RefundItem,
    RefundRequest,
)
from services.payment.tables import AUTHORIZATION, CAPTURE, CAPTURED, HELD, REFUND, VOIDED
from services.skeleton.service import Context, Effect, ExplainedRejection

HOLDS, MERCHANT = "holds", "merchant"
METHOD_PREFIX = "pm_"
DECLINED_AT_AUTHORIZATION = {
    "pm_declined": ("card_declined", "the card is declined"),
    "pm_insufficient_funds": ("insufficient_funds", "the account does not cover the amount"),
    "pm_expired": ("expired_card", "the card has expired"),
}
DECLINED_AT_CAPTURE = {"pm_capture_declined": ("capture_declined", "this way of paying is declined at capture")}
"""Way of paying → reason, and what it means."""
UNKNOWN_METHOD = ("unknown_method", "this way of paying is not known")


def authorize(context: Context, request: AuthorizeRequest) -> Authorization:
    """`POST /v1/authorizations`: holds the amount."""
    method = request.payment_method
    _decline(DECLINED_AT_AUTHORIZATION.get(method) or (None if method.startswith(METHOD_PREFIX) else UNKNOWN_METHOD))
    authorization_id = f"A-{context.key}"
    row = {**request.model_dump(), "authorization_id": authorization_id, "state": HELD, "at": context.now()}
    context.connection.execute(AUTHORIZATION.insert(), row)
    _post(context, request.order_id, _customer(request.order_id), HOLDS, request.amount, request.currency)
    return Authorization(
        authorization_id=authorization_id,
        amount=request.amount,
        currency=request.currency,
        effects=_money(request.amount, request.currency, sign=1),
    )


def void(context: Context, kept: dict[str, Any]) -> Sequence[Effect]:
    """`POST /v1/authorizations/undo`: releases the hold, unless it was captured."""
    held = _authorization(context, kept["authorization_id"])
    if _turn(context, held.authorization_id, VOIDED):
        _post(context, held.order_id, HOLDS, _customer(held.order_id), held.amount, held.currency)
        return _money(held.amount, held.currency, sign=-1)
    if _authorization(context, held.authorization_id).state == CAPTURED:
        raise BusinessRejection(
            409, CAPTURED, f"{held.authorization_id} is captured; what is taken is refunded, not voided"
        )
    return []


def capture(context: Context, request: CaptureRequest) -> Capture:
    """`POST /v1/captures`: takes what is held, whole and once."""
    held = _authorization(context, request.authorization_id)
    _decline(DECLINED_AT_CAPTURE.get(held.payment_method))
    if (held.amount, held.currency) != (request.amount, request.currency):
        detail = f"{held.authorization_id} holds {held.amount} {held.currency}, and it is captured whole"
        raise BusinessRejection(409, "amount_mismatch", detail)
    if not _turn(context, held.authorization_id, CAPTURED):
        state = _authorization(context, held.authorization_id).state
        raise BusinessRejection(409, state, f"{held.authorization_id} is {state}")
    capture_id = f"C-{context.key}"
    names = {"capture_id": capture_id, "authorization_id": held.authorization_id, "order_id": held.order_id}
    row = {**names, "currency": held.currency, "captured": held.amount, "refunded": 0}
    context.connection.execute(CAPTURE.insert(), row)
    _post(context, held.order_id, HOLDS, MERCHANT, held.amount, held.currency)
    return Capture(capture_id=capture_id, **request.model_dump())


def refund(context: Context, request: RefundRequest) -> Refund:
    """`POST /v1/refunds`: gives back a part of what was captured, or all of it."""
    amount, currency = request.amount, request.currency
    statement = (
        update(CAPTURE)
        .where(CAPTURE.c.capture_id == request.capture_id, CAPTURE.c.order_id == request.order_id)
        .where(CAPTURE.c.currency == currency, CAPTURE.c.captured - CAPTURE.c.refunded >= amount)
        .values(refunded=CAPTURE.c.refunded + amount)
    )
    if context.connection.execute(statement).rowcount == 0:
        raise _refused_refund(context, request)
    refund_id = f"F-{context.key}"
    row = {"refund_id": refund_id, "capture_id": request.capture_id, "amount": amount, "reason": request.reason}
    context.connection.execute(REFUND.insert(), {**row, "at": context.now()})
    _post(context, request.order_id, MERCHANT, _customer(request.order_id), amount, currency)
    effects = _money(amount, currency, sign=1)
    return Refund(refund_id=refund_id, capture_id=request.capture_id, amount=amount, currency=currency, effects=effects)


def capture_state(context: Context, _body: object = None, *, capture_id: str) -> CaptureState:
    """`GET /v1/captures/{capture_id}`."""
    taken = _capture(context, capture_id)
    refunds = select(REFUND).where(REFUND.c.capture_id == capture_id).order_by(REFUND.c.at, REFUND.c.refund_id)
    # SQLite keeps no zone; what was written is UTC.
    items = [
        RefundItem(
            refund_id=row.refund_id,
            amount=row.amount,
            reason=row.reason,
            at=row.at if row.at.tzinfo else row.at.replace(tzinfo=UTC),
        )
        for row in context.connection.execute(refunds)
    ]
    return CaptureState(**taken._mapping, refunds=items)


def _refused_refund(context: Context, request: RefundRequest) -> BusinessRejection:
    """Why the update has met no row."""
    taken = _capture(context, request.capture_id)
    if taken.order_id != request.order_id:
        return BusinessRejection(404, "unknown_capture", f"{request.order_id} has no capture {request.capture_id}")
    if taken.currency != request.currency:
        return BusinessRejection(409, "currency_mismatch", f"{taken.capture_id} is in {taken.currency}")
    left = taken.captured - taken.refunded
    detail = f"{left} {taken.currency} of {taken.capture_id} may still be refunded"
    return ExplainedRejection(409, "refund_exceeds_capture", detail, captured=taken.captured, refunded=taken.refunded)


def _decline(declined: tuple[str, str] | None) -> None:
    if declined is not None:
        reason, meaning = declined
        raise ExplainedRejection(402, "declined", meaning, reason=reason)


def _customer(order_id: str) -> str:
    return f"customer:{order_id}"


def _post(context: Context, order_id: str, debit: str, credit: str, amount: int, currency: str) -> None:
    """One balanced posting; a request makes one, so its key names it. Of nothing there is none."""
    if amount == 0:
        return
    entry_id = f"E-{context.key}"
    context.ledger.add(order_id, entry_id=entry_id, debit=debit, credit=credit, amount=amount, currency=currency)


def _authorization(context: Context, authorization_id: str) -> Row[Any]:
    found = select(AUTHORIZATION).where(AUTHORIZATION.c.authorization_id == authorization_id)
    row = context.connection.execute(found).one_or_none()
    if row is None:
        raise BusinessRejection(404, "unknown_authorization", f"there is no authorization {authorization_id}")
    return row


def _capture(context: Context, capture_id: str) -> Row[Any]:
    row = context.connection.execute(select(CAPTURE).where(CAPTURE.c.capture_id == capture_id)).one_or_none()
    if row is None:
        raise BusinessRejection(404, "unknown_capture", f"there is no capture {capture_id}")
    return row


def _turn(context: Context, authorization_id: str, to: str) -> bool:
    """Bring a hold to its end; False when it has one already."""
    statement = (
        update(AUTHORIZATION)
        .where(AUTHORIZATION.c.authorization_id == authorization_id, AUTHORIZATION.c.state == HELD)
        .values(state=to)
    )
    return context.connection.execute(statement).rowcount == 1


def _money(amount: int, currency: str, *, sign: int) -> list[Effect]:
    return [Effect(kind="money", unit=currency, quantity=amount, sign=sign)] if amount else []
