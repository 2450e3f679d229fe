"""What the payment service is asked and answers (docs/participants.md)."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from services.skeleton.fields import AMOUNT_MAX, LINES_MAX, Amount, Country, Currency, Id, Integral, Reference, Text
from services.skeleton.service import Effect, Strict

Charge = Annotated[int, Field(ge=1, le=AMOUNT_MAX), Integral]
# Written out, because languages differ in what \s means, and the OpenAPI document is read by all of them.
Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^@\x00-\x20\x7f-\xa0]+@[^@\x00-\x20\x7f-\xa0]+$")]


class FraudRequest(Strict):
    """What is not known is left out; the rule that asks for it is then not met."""

    order_id: Id
    amount: Amount
    currency: Currency
    country: Country
    """Where the parcel goes."""
    payment_country: Country | None = None
    """Where the way of paying is from."""
    customer_id: Id | None = None
    email: Email | None = None
    skus: Annotated[list[Id], Field(default_factory=list, max_length=LINES_MAX)]


class FraudReason(BaseModel):
    """A rule that is met."""

    rule: str
    weight: int
    detail: str


class FraudScreen(BaseModel):
    score: float
    """The sum of the weights of the rules that are met."""
    passed: bool = True
    threshold: int
    reasons: list[FraudReason]


class AuthorizeRequest(Strict):
    order_id: Id
    amount: Amount
    currency: Currency
    payment_method: Id
    customer_id: Id | None = None
    """For the fraud screen, which counts how often a customer pays."""


class Authorization(BaseModel):
    authorization_id: str
    amount: int
    currency: str
    effects: list[Effect]


class CaptureRequest(Strict):
    authorization_id: Reference
    amount: Amount
    currency: Currency


class Capture(BaseModel):
    capture_id: str
    authorization_id: str
    amount: int
    currency: str
    effects: list[Effect] = []
    """None: the hold turns into the captured money, and what the authorization reported stays true."""


class RefundRequest(Strict):
    order_id: Id
    capture_id: Reference
    amount: Charge
    currency: Currency
    reason: Annotated[Text, Field(min_length=1)]


class Refund(BaseModel):
    refund_id: str
    capture_id: str
    amount: int
    currency: str
    effects: list[Effect]
    """With sign +1 like those of every action: the refund was made. That it moves money back is in the ledger."""


class RefundItem(BaseModel):
    refund_id: str
    amount: int
    reason: str
    at: datetime


class CaptureState(BaseModel):
    """A capture and what went back of it; `captured` less `refunded` is what may still be refunded."""

    capture_id: str
    authorization_id: str
    order_id: str
    currency: str
    captured: int
    refunded: int
    refunds: list[RefundItem]
