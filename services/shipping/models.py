"""What the shipping service is asked and answers (docs/participants.md)."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from services.skeleton.fields import QUANTITY_MAX, Country, Currency, Id, Integral, Reference, Text
from services.skeleton.service import Effect, Strict

ITEM_WEIGHT_MAX_G = 20_000
"""What is heavier by the piece is no parcel."""
ItemCount = Annotated[int, Field(ge=0, le=QUANTITY_MAX), Integral]


class Address(Strict):
    """Where a parcel is to go."""

    name: Text
    street: Text
    city: Text
    postcode: Text | None = None
    """Whether the country has one is the table's question, not the caller's."""
    country: Country
    region: Text | None = None
    street2: Text | None = None
    company: Text | None = None
    phone: Text | None = None
    """For the carrier."""


class NormalisedAddress(BaseModel):
    """An address as a label has it; what the country does not use is empty."""

    name: str
    street: str
    city: str
    postcode: str
    region: str
    country_code: str
    street2: str = ""
    company: str = ""
    phone: str = ""


class QuoteRequest(Strict):
    country: Country
    postcode: Text | None = None
    """For the places of a country that have a zone of their own, such as islands."""
    currency: Currency
    item_count: ItemCount
    weight_g: Annotated[int, Field(ge=1, le=ITEM_WEIGHT_MAX_G), Integral] | None = None
    """Grams of one item; without it that of the tariff."""


class ShippingQuote(BaseModel):
    amount: int
    currency: str
    carrier: str
    days: int
    """Business days at most."""
    days_min: int
    zone: str
    weight_g: int
    """Of the whole parcel."""
    delivery_from: date
    delivery_to: date
    """Reckoned from the day of the quote."""


class ValidAddress(BaseModel):
    valid: bool
    country_code: str
    address: NormalisedAddress


class ShipmentRequest(Strict):
    order_id: Id
    carrier: Reference
    address: Address
    item_count: ItemCount


class Shipment(BaseModel):
    shipment_id: str
    tracking: str
    carrier: str
    effects: list[Effect]


class DispatchRequest(Strict):
    shipment_id: Reference


class Dispatch(BaseModel):
    shipment_id: str
    dispatched: bool = True
    tracking: str | None
    """None for a label that was bought before numbers were kept."""
    effects: list[Effect] = []


class ReturnLabelRequest(Strict):
    order_id: Id
    return_id: Id
    shipment_id: Reference
    """The parcel that comes back, whole or in part."""


class ReturnLabel(BaseModel):
    return_label_id: str
    shipment_id: str
    tracking: str
    carrier: str
    effects: list[Effect]
