"""What the payment service can be asked: screen, authorise, void, capture.

Rules of this file
------------------
- **Double entry.** A row of the ledger is one balanced posting: `amount` goes from the account that is debited to the one
  that is credited. Authorising moves it from `customer:<order_id>` to `holds`, a void moves it back, a capture moves it
  from `holds` to `merchant`. So all accounts sum to zero, per currency.
- An authorization is `held`, then either `voided` or `captured`, and stays so: each change is one conditional update. It is
  captured whole, once. The capture of a voided one answers 409 `voided`, the void of a captured one 409 `captured`; no
  connector takes these for a business rejection.
- Who is declined is said by the way of paying, so that a test can ask for it: `pm_declined` at authorization,
  `pm_capture_declined` at capture, also whatever does not begin with `pm_` at authorization.
- The fraud screen is one rule: an amount above `FRAUD_LIMIT` is suspected.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, CheckConstraint, Column, MetaData, Row, String, Table, select, update

from saga.barrier import BusinessRejection
from services.skeleton.fields import AMOUNT_MAX, Amount, Country, Currency, Id, Reference
from services.skeleton.service import Context, Effect, Operation, Service, Strict

FRAUD_LIMIT = 10**9
"""Minor units of any currency."""
HELD, VOIDED, CAPTURED = "held", "voided", "captured"
HOLDS, MERCHANT = "holds", "merchant"
DECLINED_METHOD, CAPTURE_DECLINED_METHOD, METHOD_PREFIX = "pm_declined", "pm_capture_declined", "pm_"
Charge = Annotated[int, Field(ge=1, le=AMOUNT_MAX)]

METADATA = MetaData()
AUTHORIZATION = Table(
    "authorization_",
    METADATA,
    Column("authorization_id", String(260), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("payment_method", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    CheckConstraint("amount > 0", name="authorization_positive"),
    CheckConstraint("state IN ('held', 'voided', 'captured')", name="authorization_state"),
)
LEDGER_COLUMNS = (
    Column("entry_id", String(260), nullable=False),
    Column("debit", String(80), nullable=False),
    Column("credit", String(80), nullable=False),
    Column("amount", BigInteger, CheckConstraint("amount > 0", name="posting_positive"), nullable=False),
    Column("currency", String(3), nullable=False),
)


class FraudRequest(Strict):
    order_id: Id
    amount: Amount
    currency: Currency
    country: Country


class FraudScreen(BaseModel):
    score: float
    """0.0 to 1.0: the share of the limit that the amount takes up."""
    passed: bool = True


class AuthorizeRequest(Strict):
    order_id: Id
    amount: Charge
    currency: Currency
    payment_method: Id


class Authorization(BaseModel):
    authorization_id: str
    amount: int
    currency: str
    effects: list[Effect]


class CaptureRequest(Strict):
    authorization_id: Reference
    amount: Charge
    currency: Currency


class Capture(BaseModel):
    capture_id: str
    authorization_id: str
    amount: int
    currency: str
    effects: list[Effect] = []
    """None: the hold turns into the captured money, and what the authorization reported stays true."""


def screen(_context: Context, request: FraudRequest) -> FraudScreen:
    """`POST /v1/fraud-screens`."""
    if request.amount > FRAUD_LIMIT:
        raise BusinessRejection(402, "fraud_suspected", f"the amount is above {FRAUD_LIMIT} minor units")
    return FraudScreen(score=request.amount / FRAUD_LIMIT)


def authorize(context: Context, request: AuthorizeRequest) -> Authorization:
    """`POST /v1/authorizations`: holds the amount."""
    if request.payment_method == DECLINED_METHOD or not request.payment_method.startswith(METHOD_PREFIX):
        raise BusinessRejection(402, "declined", "this way of paying is declined")
    authorization_id = f"A-{context.key}"
    row = {**request.model_dump(), "authorization_id": authorization_id, "state": HELD}
    context.connection.execute(AUTHORIZATION.insert(), row)
    _post(context, request.order_id, _customer(request.order_id), HOLDS, request.amount, request.currency)
    return Authorization(
        authorization_id=authorization_id,
        amount=request.amount,
        currency=request.currency,
        effects=[_money(request.amount, request.currency, sign=1)],
    )


def void(context: Context, kept: dict[str, Any]) -> Sequence[Effect]:
    """`POST /v1/authorizations/undo`: releases the hold, unless it was captured."""
    held = _authorization(context, kept["authorization_id"])
    if _turn(context, held.authorization_id, VOIDED):
        _post(context, held.order_id, HOLDS, _customer(held.order_id), held.amount, held.currency)
        return [_money(held.amount, held.currency, sign=-1)]
    if _authorization(context, held.authorization_id).state == CAPTURED:
        raise BusinessRejection(
            409, CAPTURED, f"{held.authorization_id} is captured; what is taken is refunded, not voided"
        )
    return []


def capture(context: Context, request: CaptureRequest) -> Capture:
    """`POST /v1/captures`: takes what is held, whole and once."""
    held = _authorization(context, request.authorization_id)
    if held.payment_method == CAPTURE_DECLINED_METHOD:
        raise BusinessRejection(402, "declined", "this way of paying is declined at capture")
    if (held.amount, held.currency) != (request.amount, request.currency):
        detail = f"{held.authorization_id} holds {held.amount} {held.currency}, and it is captured whole"
        raise BusinessRejection(409, "amount_mismatch", detail)
    if not _turn(context, held.authorization_id, CAPTURED):
        state = _authorization(context, held.authorization_id).state
        raise BusinessRejection(409, state, f"{held.authorization_id} is {state}")
    _post(context, held.order_id, HOLDS, MERCHANT, held.amount, held.currency)
    return Capture(capture_id=f"C-{context.key}", **request.model_dump())


def _customer(order_id: str) -> str:
    return f"customer:{order_id}"


def _post(context: Context, order_id: str, debit: str, credit: str, amount: int, currency: str) -> None:
    """One balanced posting; a request makes one, so its key names it."""
    entry_id = f"E-{context.key}"
    context.ledger.add(order_id, entry_id=entry_id, debit=debit, credit=credit, amount=amount, currency=currency)


def _authorization(context: Context, authorization_id: str) -> Row[Any]:
    found = select(AUTHORIZATION).where(AUTHORIZATION.c.authorization_id == authorization_id)
    row = context.connection.execute(found).one_or_none()
    if row is None:
        raise BusinessRejection(404, "unknown_authorization", f"there is no authorization {authorization_id}")
    return row


def _turn(context: Context, authorization_id: str, to: str) -> bool:
    """Bring a hold to its end; False when it has one already."""
    statement = (
        update(AUTHORIZATION)
        .where(AUTHORIZATION.c.authorization_id == authorization_id, AUTHORIZATION.c.state == HELD)
        .values(state=to)
    )
    return context.connection.execute(statement).rowcount == 1


def _money(amount: int, currency: str, *, sign: int) -> Effect:
    return Effect(kind="money", unit=currency, quantity=amount, sign=sign)


SERVICE = Service(
    name="payment",
    metadata=METADATA,
    ledger_columns=LEDGER_COLUMNS,
    operations=(
        Operation(
            "/v1/fraud-screens",
            FraudRequest,
            FraudScreen,
            screen,
            is_readonly=True,
            rejections={"fraud_suspected": 402},
        ),
        Operation(
            "/v1/authorizations",
            AuthorizeRequest,
            Authorization,
            authorize,
            undo=void,
            status=201,
            rejections={"declined": 402, "fraud_suspected": 402},
        ),
        Operation(
            "/v1/captures", CaptureRequest, Capture, capture, status=201, rejections={"declined": 402, VOIDED: 409}
        ),
    ),
)
