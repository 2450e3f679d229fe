"""Where goods are taxed, at which rate, and how much that is. The rates are data: `rates.csv` says what its columns mean.

Rules of this file
------------------
- **Destination.** A line is taxed where the goods go: at the rate of the country, and in the United States and Canada of
  the region when one is given that the table knows. A region elsewhere, or an unknown one, changes nothing.
- **Taken simpler than it is**: the seller counts as registered wherever goods go. A seller in the United Kingdom would
  export without British VAT, and whoever imports would pay the tax of their country; here the seller charges that tax, as
  under delivered-duty-paid or the One Stop Shop. There are no thresholds, no reverse charge, no rules for a place within a
  country other than its region, and no county or city taxes.
- **A country that is not in the table is taxed at nothing**, without a jurisdiction. Whether goods can go there is the
  question of another service.
- A row holds from its `valid_from`: of several for one place the latest that has begun. So a change of rate is written
  down before it comes.
- A rate is an integer, thousandths of a per cent. A line's tax is rounded half up to the minor unit, line by line, and the
  tax of an order is the sum of its lines: so each line can be shown, refunded and checked by itself. Several taxes of one
  place (GST and QST) are one rate, rounded once.
"""

import csv
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from saga.places import country_code, region_code

TABLE = Path(__file__).with_name("rates.csv")
PER_CENT = 1_000
WHOLE = 100 * PER_CENT


class TaxClass(StrEnum):
    """What kind of goods a line is. Zero-rated and exempt goods carry no tax; only the second are named exempt."""

    STANDARD = "standard"
    REDUCED = "reduced"
    ZERO = "zero"
    EXEMPT = "exempt"


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """One row: a place and its rates, in thousandths of a per cent, from a day on."""

    country: str
    region: str
    standard: int
    reduced: int | None
    valid_from: date
    source: str
    taken_down_on: date
    note: str

    @property
    def code(self) -> str:
        """`GB`, `CA-QC`: ISO 3166-1, or ISO 3166-2."""
        return f"{self.country}-{self.region}" if self.region else self.country

    def class_of(self, tax_class: TaxClass) -> TaxClass:
        """The class whose rate goods of a class pay: where no reduced rate is written down, `standard`, never too little."""
        is_unknown = tax_class is TaxClass.REDUCED and self.reduced is None
        return TaxClass.STANDARD if is_unknown else tax_class

    def rate_of(self, tax_class: TaxClass) -> int:
        """What goods of a class pay."""
        paid = self.class_of(tax_class)
        if paid in (TaxClass.ZERO, TaxClass.EXEMPT):
            return 0
        return self.reduced if paid is TaxClass.REDUCED and self.reduced is not None else self.standard


def read_table(lines: list[str]) -> list[Jurisdiction]:
    """The rows of a table; lines that begin with # are prose. Raises `ValueError` with the place and what is wrong."""
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [_read_row(row) for row in rows]


def _read_row(row: dict[str, str]) -> Jurisdiction:
    try:
        return Jurisdiction(
            country=row["country"],
            region=row["region"],
            standard=_read_rate(row["standard"]),
            reduced=_read_rate(row["reduced"]) if row["reduced"] else None,
            valid_from=date.fromisoformat(row["valid_from"]),
            source=row["source"],
            taken_down_on=date.fromisoformat(row["taken_down_on"]),
            note=row["note"],
        )
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"{row['country']}-{row['region']}: {error}") from error


def _read_rate(text: str) -> int:
    rate = Decimal(text) * PER_CENT
    if rate != int(rate) or not 0 <= rate <= WHOLE:
        raise ValueError(f"{text} is no rate: 0 to 100 per cent, with three places at most")
    return int(rate)


JURISDICTIONS = read_table(TABLE.read_text(encoding="utf-8").splitlines())
_ROWS: dict[tuple[str, str], list[Jurisdiction]] = {}
for _row in sorted(JURISDICTIONS, key=lambda row: row.valid_from):
    _ROWS.setdefault((_row.country, _row.region), []).append(_row)


def jurisdiction_of(country: str, region: str | None, on: date) -> Jurisdiction | None:
    """Where an order to there is taxed on that day; None for a country that is not in the table.

    Country and region go by any code or name that `saga.places` knows.
    """
    code = country_code(country) or ""
    part = region_code(code, region or "") or ""
    rows = _ROWS.get((code, part)) or _ROWS.get((code, ""), [])
    begun = [row for row in rows if row.valid_from <= on]
    return begun[-1] if begun else None


def tax_on(amount: int, rate: int) -> int:
    """Tax on one line in minor units, rounded half up."""
    return (amount * rate + WHOLE // 2) // WHOLE


def percent(rate: int) -> str:
    """Decimal text with two places, and a third where there is one: `20.00`, `14.975`. A rate is exact as well."""
    whole, rest = divmod(rate, PER_CENT)
    return f"{whole}.{rest:03}" if rest % 10 else f"{whole}.{rest // 10:02}"
