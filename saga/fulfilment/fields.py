"""Kinds of fields that orders, returns, and what participants are asked and answer are made of.

Rules of this file
------------------
- A whole number may be written as JSON has it: `1250.0` and `1e3` are integers there (RFC 8259, JSON Schema 2020-12
  section 4.2.3), and so they are here. The value that is kept is the `int`, so it reads back as itself. A text, a flag, a
  fraction, NaN and what is too great for a float to name one integer are none.
- Every number and every text has bounds, chosen so that sums stay far below 2**63.
- The JSON schema of a field says what can be said in one; the rest is said by its message.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo

from saga.fulfilment.email_address import ADDRESS_MAX, EMAIL, checked_address
from saga.fulfilment.money import is_known_currency, was_known_currency
from saga.fulfilment.texts import ID_MAX, OneAddress, PlainId, Printable, Seen, Straight, text
from saga.runtime.readback import is_kept

AMOUNT_MAX = 10**13
FLOAT_EXACT = 2**53
"""Below it a float names one integer; from there on it may stand for a neighbour."""


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < FLOAT_EXACT:
        return int(value)
    return value


def _currency(code: str, info: ValidationInfo) -> str:
    if not is_known_currency(code) and not (is_kept(info.context) and was_known_currency(code)):
        raise ValueError(f"{code} is not a currency of ISO 4217 that is in use; it is three capitals such as GBP")
    return code


def _said_currency(code: str) -> str:
    if not was_known_currency(code):
        raise ValueError(f"{code} is not a currency of ISO 4217; it is three capitals such as GBP")
    return code


def _true(flag: bool) -> bool:
    if not flag:
        raise ValueError("the participant answers false where only true is a success")
    return flag


def _is_unsaid(value: object) -> bool:
    return value is None


def unsaid(description: str | None = None) -> Any:
    """A field that is left out of the JSON while nobody says it, so an order without it keeps the bytes that it has."""
    return Field(default=None, exclude_if=_is_unsaid, description=description)


Integral = BeforeValidator(_whole)
"""Stands last, behind the bounds: pydantic takes bounds that stand behind a function out of the JSON schema."""
Whole = Annotated[int, Integral]

ID = r"^[^\x00-\x20\x7f-\xa0-](?:[^\x00-\x1f\x7f-\xa0]*[^\x00-\x20\x7f-\xa0])?$"
"""What a schema can say of an id; the rest is said by `texts.PlainId`."""
PHONE = r"^[ +().x/-]*[0-9][0-9 +().x/-]*$"
CURRENCY = r"^[A-Z]{3}$"
IN_WORDS = {
    CURRENCY: "must be a currency of ISO 4217, three capitals, as in GBP",
    PHONE: "must be digits with the signs ' +-().x/' between them, as in +44 113 496 0000 x 7",
}
"""The rules of an order that a person cannot read from the pattern."""
_PATTERN_RULES = {f"String should match pattern '{pattern}'": words for pattern, words in IN_WORDS.items()}

Id = Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": ID_MAX, "pattern": ID}), PlainId, OneAddress]
"""An id as shops have them: `#1001`, `A/B-7`, `SO 1001`. Printable, in normal form NFC, at most one blank in a row."""
Reference = Annotated[str, text(128), Printable]
"""An id that a participant gave."""
Text = Annotated[str, text(200), Printable, Straight, Seen]
"""What a person reads."""
Said = Annotated[str, text(200), Printable]
"""A text of an order that was taken, as a participant is asked: whatever was kept can be asked for."""
SaidCountry = Annotated[str, text(64), Printable]
Country = Annotated[str, text(64), Printable, Straight]
SaidPostcode = Annotated[str, text(20), Printable]
Postcode = Annotated[str, text(20), Printable, Straight]
Phone = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=PHONE)]
Currency = Annotated[str, StringConstraints(pattern=CURRENCY), AfterValidator(_currency)]
SaidCurrency = Annotated[str, StringConstraints(pattern=CURRENCY), AfterValidator(_said_currency)]
"""The currency of an order that was taken, which may have been withdrawn since."""
Email = Annotated[
    str,
    Field(json_schema_extra={"maxLength": ADDRESS_MAX, "pattern": EMAIL}),
    AfterValidator(checked_address),
    OneAddress,
]
"""As it was typed; `mail_address` is what it is sent to."""
Yes = Annotated[bool, AfterValidator(_true)]
TaxClass = Literal["standard", "reduced", "zero", "exempt"]
Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX), Integral]


def in_words(message: str) -> str:
    """A rule as a validation error says it, for a person: a pattern in words, and no word on how it was found out."""
    return _PATTERN_RULES.get(message) or message.removeprefix("Value error, ")
