"""What the tax service can be asked: a quote. It owns no state but its ledger."""

from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, Column, MetaData, String

from services.skeleton.fields import LINES_MAX, Amount, Country, Currency, Id, Text
from services.skeleton.service import Context, Operation, Service, Strict
from services.tax.rates import Jurisdiction, TaxClass, jurisdiction_of, percent, tax_on

GOODS_EXEMPT, CUSTOMER_EXEMPT = "goods_exempt", "customer_exempt"


class TaxableLine(Strict):
    sku: Id
    amount: Amount
    tax_class: Annotated[TaxClass, Field(strict=False)] = TaxClass.STANDARD


class TaxRequest(Strict):
    order_id: Id
    country: Country
    region: Text | None = None
    currency: Currency
    lines: Annotated[list[TaxableLine], Field(max_length=LINES_MAX)]
    tax_exempt: bool = False
    """The customer pays no tax, such as a diplomat or a charity; why is for the caller to keep."""


class TaxedLine(BaseModel):
    sku: str
    tax_amount: int
    tax_class: TaxClass
    """What the request said."""
    rate_percent: str
    rate_class: TaxClass | None
    """The class whose rate this is: `standard` for a reduced line where no reduced rate is written down; null where no
    rate was applied, for an exempt customer or a country that is not in the table."""
    exemption_reason: str | None
    """`customer_exempt`, `goods_exempt`, or null: taxed, at 0 perhaps."""


class TaxQuote(BaseModel):
    """All lines of a quote go to one place, so they share jurisdiction, source and valid_from."""

    tax_amount: int
    currency: str
    rate_percent: str
    """Of the class `standard`; decimal text with two or three places, such as `20.00`: a rate is exact as well."""
    jurisdiction: str | None
    """`GB`, `CA-QC`; null for a country that is not in the table, which is taxed at nothing."""
    source: str | None
    """Who sets or publishes the rate; not that the row was copied from there."""
    valid_from: str | None
    """2025-01-01 also where the first day was not known: then it was in force on that day."""
    taken_down_on: str | None
    """The day on which the row was written, from general knowledge."""
    note: str | None
    """What the row leaves out, as the table says it."""
    exemption_reason: str | None
    lines: list[TaxedLine]


def quote(context: Context, request: TaxRequest) -> TaxQuote:
    """`POST /v1/tax-quotes`: the tax on each line and on all of them. Each answer is a row of the ledger."""
    place = jurisdiction_of(request.country, request.region, context.now().date())

    applied = None if request.tax_exempt else place
    lines = [_taxed(line, applied, is_customer_exempt=request.tax_exempt) for line in request.lines]
    tax_amount = sum(line.tax_amount for line in lines)
    context.ledger.add(request.order_id, amount=tax_amount, currency=request.currency)
    return TaxQuote(
        tax_amount=tax_amount,
        currency=request.currency,
        rate_percent=percent(applied.standard if applied else 0),
        jurisdiction=place.code if place else None,
        source=place.source if place else None,
        valid_from=place.valid_from.isoformat() if place else None,
        taken_down_on=place.taken_down_on.isoformat() if place else None,
        note=place.note or None if place else None,
        exemption_reason=CUSTOMER_EXEMPT if request.tax_exempt else None,
        lines=lines,
    )


def _taxed(line: TaxableLine, place: Jurisdiction | None, *, is_customer_exempt: bool) -> TaxedLine:
    rate = place.rate_of(line.tax_class) if place else 0
    goods = GOODS_EXEMPT if line.tax_class is TaxClass.EXEMPT else None
    return TaxedLine(
        sku=line.sku,
        tax_amount=tax_on(line.amount, rate),
        tax_class=line.tax_class,
        rate_percent=percent(rate),
        rate_class=place.class_of(line.tax_class) if place else None,
        exemption_reason=CUSTOMER_EXEMPT if is_customer_exempt else goods,
    )


SERVICE = Service(
    name="tax",
    metadata=MetaData(),
    ledger_columns=(Column("amount", BigInteger, nullable=False), Column("currency", String(3), nullable=False)),
    operations=(
        Operation(
            "/v1/tax-quotes",
            TaxRequest,
            TaxQuote,
            quote,
            is_readonly=True,
            example={
                "order_id": "SO-1",
                "country": "Canada",
                "region": "QC",
                "currency": "CAD",
                "lines": [{"sku": "85123A", "amount": 1000}, {"sku": "BOOK", "amount": 500, "tax_class": "exempt"}],
            },
            answer_example={
                "tax_amount": 150,
                "currency": "CAD",
                "rate_percent": "14.975",
                "jurisdiction": "CA-QC",
                "source": "Canada Revenue Agency; Revenu Québec",
                "valid_from": "2013-01-01",
                "taken_down_on": "2026-11-21",
                "note": "GST 5 + QST 9.975",
                "exemption_reason": None,
                "lines": [
                    {
                        "sku": "85123A",
                        "tax_amount": 150,
                        "tax_class": "standard",
                        "rate_percent": "14.975",
                        "rate_class": "standard",
                        "exemption_reason": None,
                    },
                    {
                        "sku": "BOOK",
                        "tax_amount": 0,
                        "tax_class": "exempt",
                        "rate_percent": "0.00",
                        "rate_class": "exempt",
                        "exemption_reason": "goods_exempt",
                    },
                ],
            },
        ),
    ),
)
