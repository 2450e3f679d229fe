"""Countries and regions as people and shops write them, and their codes: the one table, for the engine and for the services.

Rules of this file
------------------
- The codes are those of ISO 3166-1 (alpha-2) and ISO 3166-2, from `pycountry`. A country also goes by its alpha-3 code, by its short,
  official and common names in ISO's list, by its name in English and in its own languages (CLDR, from Babel), and by `COMMON`.
- Names are compared without case, accents, dots, apostrophes and the word "the"; `&` is `and`, `St.` is `Saint`, and what ISO
  writes behind a comma may stand before the name (`Korea, Republic of`, `Republic of Korea`). Nothing is guessed: a name that is not
  in the table has no code, and `Korea` or `Virgin Islands`, which are two places, have none.
- Three are no country of ISO 3166-1: Kosovo is `XK` and the European Union `EU`, as CLDR has them, and `Unspecified` is `ZZ`.
- Reading the lists takes 0.1 s, once, when the first name is asked for; the names in other languages 0.5 s, when the first one is
  asked for that the English table does not have.

A participant imports this besides the barrier (docs/adr/0014): two tables of one world would differ one day, and an order
would be taxed for a country that nobody delivers to.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

NO_COUNTRIES = frozenset({"EU", "ZZ"})
"""Codes that shops write where no country is known. A parcel cannot be checked by the rules of either."""
COMMON = {
    "AE": "Emirates; UAE",
    "AG": "Antigua",
    "AX": "Aland",
    "BA": "Bosnia; Bosnia Herzegovina",
    "BQ": "Bonaire",
    "CD": "Congo Kinshasa; Democratic Republic of Congo; DR Congo; DRC; Zaire",
    "CG": "Congo Brazzaville; Republic of Congo",
    "CI": "Ivory Coast",
    "CN": "Mainland China; PR China; PRC",
    "CZ": "Czech Rep",
    "EU": "European Community; European Union",
    "FK": "Falklands",
    "FM": "Micronesia",
    "GB": "Britain; England; Great Britain; Northern Ireland; Scotland; UK; Wales",
    "GG": "Channel Islands",
    "GR": "EL",
    "HK": "Hong Kong SAR",
    "IE": "Irish Republic; Republic of Ireland; Southern Ireland",
    "KN": "Nevis; St. Kitts",
    "KP": "DPRK",
    "MK": "Former Yugoslav Republic of Macedonia; FYROM; Macedonia; Republic of Macedonia",
    "MM": "Burma",
    "MO": "Macao SAR; Macau; Macau SAR",
    "NL": "Holland",
    "PS": "Palestine",
    "PW": "Belau",
    "SA": "KSA",
    "SK": "Slovak Rep",
    "SR": "Surinam",
    "ST": "Sao Tome",
    "SZ": "Swaziland",
    "TL": "East Timor",
    "TR": "Turkey",
    "TT": "Tobago; Trinidad",
    "TW": "Taiwan ROC",
    "UM": "US Minor Outlying Islands",
    "US": "America; U S A; US of A",
    "VA": "Holy See; Vatican",
    "VC": "St. Vincent",
    "VG": "BVI; Virgin Islands UK",
    "VI": "USVI; Virgin Islands US",
    "XK": "Kosovo; Republic of Kosovo; XKX",
    "ZA": "RSA",
    "ZZ": "Unspecified",
}
"""Names in English that neither list has, by code. `EL` is how the European Union writes Greece, and `UK` the Kingdom."""
OTHER_NAMES = ("common_name", "official_name")
"""What `pycountry` calls the further names of a country, where it has one."""
_SILENT = frozenset({"Lm", "Mn", "Mc", "Me", "Pf", "Pi"})
"""Categories of letters that do not tell two names apart: accents, and the typed kinds of an apostrophe."""
_PARTS = re.compile(r" ?[,/()\[\]]")
"""Between the names that ISO writes of one region: `Girona [Gerona]`, `Madrid, Comunidad de`."""
_WORD = re.compile(r"\w+")
_OF_REGION = re.compile(r"([A-Z]{2})-([A-Z0-9]{1,3})")


def country_code(text: str) -> str | None:
    """The alpha-2 code of a country by one of its codes or names; None when the table has none."""
    name = folded(text)
    return _in_english().get(name) or _in_own_languages().get(name)


def region_code(country: str, text: str) -> str | None:
    """The part of ISO 3166-2 behind the dash, of a region of the country with that alpha-2 code: by that part, by the whole code
    or by the name. None when the country has no such region."""
    name = folded(text)
    return _regions(country).get(name.removeprefix(f"{country.casefold()} ")) or _regions(country).get(name)


def region_elsewhere(country: str, text: str) -> str | None:
    """The country of a whole code of ISO 3166-2 (`US-CA`) that is of another country than `country`; None for any other text."""
    found = _OF_REGION.fullmatch(text.strip().upper())
    if found is None or found[1] == country or folded(found[2]) not in _regions(found[1]):
        return None
    return found[1]


def alpha_3(code: str) -> str:
    """The alpha-3 code of a country's alpha-2 code; the alpha-2 code again for one that is not in ISO 3166-1."""
    import pycountry

    found = pycountry.countries.get(alpha_2=code)
    return found.alpha_3 if found else code


def countries() -> Mapping[str, str]:
    """The short name in ISO's list of each country of ISO 3166-1, by code."""
    import pycountry

    return {it.alpha_2: it.name for it in pycountry.countries}


def folded(text: str) -> str:
    """A name as this table compares it. A text without a letter or a digit becomes empty."""
    plain = unicodedata.normalize("NFKD", text).casefold().replace("&", " and ")
    letters = "".join(it for it in plain if it not in ".'`" and unicodedata.category(it) not in _SILENT)
    words = ("saint" if word == "st" else word for word in _WORD.findall(letters) if word != "the")
    return " ".join(words)


@cache
def _in_english() -> Mapping[str, str]:
    """Folded name or code → code."""
    import pycountry
    from babel import Locale

    english = Locale("en").territories
    table: dict[str, str] = {}
    for code, common in COMMON.items():
        _add(table, code, [code, *common.split(";")])
    for it in pycountry.countries:
        names = [it.alpha_2, it.alpha_3, it.name, english.get(it.alpha_2, "")]
        names += [getattr(it, name, "") for name in OTHER_NAMES]
        _add(table, it.alpha_2, [form for name in names for form in _forms(name)])
    return table


@cache
def _in_own_languages() -> Mapping[str, str]:
    from babel import Locale, UnknownLocaleError
    from babel.languages import get_official_languages

    table: dict[str, str] = {}
    for code in countries():
        for language in get_official_languages(code, regional=True, de_facto=True):
            try:
                _add(table, code, [Locale.parse(language).territories.get(code, "")])
            except UnknownLocaleError:  # CLDR lists the language and has no words of it
                continue
    return table


@cache
def _regions(country: str) -> Mapping[str, str]:
    """Folded name or code → the code behind the dash."""
    import pycountry

    parts = [it for it in pycountry.subdivisions if it.country_code == country]
    table: dict[str, str] = {}
    for it in parts:  # codes go before names, and whole names before parts of one
        _add(table, it.code.partition("-")[2], [it.code.partition("-")[2]])
    for it in parts:
        _add(table, it.code.partition("-")[2], [it.name])
    for it in parts:
        _add(table, it.code.partition("-")[2], [*_forms(it.name), *_PARTS.split(it.name)])
    return table


def _forms(name: str) -> Iterator[str]:
    """A name of ISO's list, with what stands behind its comma before it, and without what stands in brackets."""
    yield name
    before, comma, behind = name.partition(", ")
    if comma:
        yield f"{behind} {before}"
    if "(" in name:
        yield name.partition("(")[0]


def _add(table: dict[str, str], code: str, names: Iterable[str]) -> None:
    for name in names:
        if one := folded(name):
            table.setdefault(one, code)
