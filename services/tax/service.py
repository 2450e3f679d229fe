"""What the tax service can be asked: a quote. It owns no state but its ledger."""

from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, Column, MetaData, String

from services.skeleton.fields import LINES_MAX, Amount, Country, Currency, Id, Text
from services.skeleton.service import Context, Operation, Service, Strict
from services.tax.rates import rate_of, tax_on


class TaxableLine(Strict):
    sku: Id
    amount: Amount


class TaxRequest(Strict):
    order_id: Id
    country: Country
    region: Text | None = None
    currency: Currency
    lines: Annotated[list[TaxableLine], Field(max_length=LINES_MAX)]


class TaxedLine(BaseModel):
    sku: str
    tax_amount: int


class TaxQuote(BaseModel):
    tax_amount: int
    currency: str
    rate_percent: str
    """Decimal text with two places, such as `20.00`: a rate is exact as well."""
    lines: list[TaxedLine]


def quote(context: Context, request: TaxRequest) -> TaxQuote:
    """`POST /v1/tax-quotes`: the tax on each line and on all of them. Each answer is a row of the ledger."""
    rate = rate_of(request.country)
    lines = [TaxedLine(sku=line.sku, tax_amount=tax_on(line.amount, rate)) for line in request.lines]
    tax_amount = sum(line.tax_amount for line in lines)
    context.ledger.add(request.order_id, amount=tax_amount, currency=request.currency)
    percent = f"{rate // 100}.{rate % 100:02}"
    return TaxQuote(tax_amount=tax_amount, currency=request.currency, rate_percent=percent, lines=lines)


SERVICE = Service(
    name="tax",
    metadata=MetaData(),
    ledger_columns=(Column("amount", BigInteger, nullable=False), Column("currency", String(3), nullable=False)),
    operations=(Operation("/v1/tax-quotes", TaxRequest, TaxQuote, quote, is_readonly=True),),
)
