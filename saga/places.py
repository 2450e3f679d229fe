"""Countries and regions as people and shops write them, and their codes: the one table, for the engine and for the services.

Rules of this file
------------------
- The codes are those of ISO 3166-1 (alpha-2) and ISO 3166-2, from `pycountry`. A country also goes by its alpha-3 code, by its short,
  official and common names in ISO's list, by its name in English and in its own languages (CLDR, from Babel), and by `COMMON`.
- Names are compared without case, accents, dots, apostrophes and the word "the"; `&` is `and`, and `St.` is `Saint`.
- A text has several readings, and the first that is in the table counts: as it is; with dots as blanks (`St.Lucia`); initials as one
  word (`U. S.`); short words in full (`S. Korea`); and what stands behind a comma or in brackets before the rest (`Korea, Republic of`,
  `Ireland (Republic of)`). At last each of its parts may name the same place (`United States (US)`).
- Nothing is guessed: a name that is not in the table has no code; `Korea` or `Virgin Islands`, which are two places, have none, and
  neither has a text that names two (`United States (UK)`).
- Three are no country of ISO 3166-1: Kosovo is `XK` and the European Union `EU`, as CLDR has them, and `Unspecified` is `ZZ`.
- Reading the lists takes 0.1 s, once, when the first name is asked for; the names in other languages 0.5 s, when the first one is
  asked for that the English table does not have.

A participant imports this besides the barrier (docs/adr/0014): two tables of one world would differ one day, and an order
would be taxed for a country that nobody delivers to.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial

NO_COUNTRIES = frozenset({"EU", "ZZ"})
"""Codes that shops write where no country is known. A parcel cannot be checked by the rules of either."""
COMMON = {
    "AE": "Emirates; UAE",
    "AG": "Antigua",
    "AX": "Aland",
    "BA": "Bosnia; Bosnia Herzegovina",
    "BL": "St. Barts",
    "BQ": "Bonaire; Bonaire, Saint Eustatius and Saba",
    "CD": "Congo DR; Congo DRC; Congo Kinshasa; DR Congo; DRC; Dem. Rep. Congo; Democratic Republic of Congo; Zaire",
    "CG": "Congo Brazzaville; Congo Rep.; Republic of Congo",
    "CI": "Ivory Coast",
    "CN": "Mainland China; PR China; PRC; PRC China; 中國",
    "CZ": "Česká republika",
    "EU": "European Community; European Union",
    "FK": "Falklands",
    "FM": "Micronesia",
    "FR": "Metropolitan France",
    "GB": "Britain; England; Great Britain; Gt Britain; N Ireland; Northern Ireland; Scotland; UK; Wales",
    "GG": "Channel Islands",
    "GR": "EL; Hellas",
    "GS": "South Georgia; South Georgia Sandwich Islands",
    "HK": "Hong Kong China; Hong Kong SAR; Hongkong; 中国香港; 香港",
    "IE": "Irish Republic; Republic of Ireland; Southern Ireland",
    "IM": "Isle of Man UK",
    "JE": "Jersey Channel Islands",
    "JP": "日本国",
    "KN": "Nevis; St. Kitts",
    "KP": "DPRK; Korea DPR",
    "KR": "Korea Rep.; ROK; 한국",
    "LA": "Lao PDR",
    "MK": "FYR Macedonia; FYROM; Former Yugoslav Republic of Macedonia; Macedonia; Republic of Macedonia",
    "MM": "Burma",
    "MO": "Macao SAR; Macau; Macau SAR; Macau SAR China; 中国澳门; 澳門; 澳门",
    "NL": "Holland",
    "PS": "Occupied Palestinian Territory; Palestine; Palestinian Territory",
    "PW": "Belau",
    "RE": "Reunion Island",
    "RU": "Российская Федерация",
    "SA": "KSA; السعودية",
    "SJ": "Svalbard",
    "SR": "Surinam",
    "ST": "Sao Tome",
    "SX": "Saint Martin Dutch part; St. Maarten",
    "SZ": "Swaziland",
    "TC": "Turks and Caicos",
    "TL": "East Timor",
    "TR": "Turkey",
    "TT": "Tobago; Trinidad",
    "TW": "Taiwan ROC; 臺灣",
    "UM": "US Minor Outlying Islands; United States US Minor Outlying Islands",
    "US": "America; US of A; US of America",
    "VA": "Holy See; Vatican; Vatican City State",
    "VC": "St. Vincent",
    "VG": "BVI; Virgin Islands UK",
    "VI": "USVI; United States Virgin Islands; Virgin Islands US",
    "WF": "Wallis and Futuna Islands",
    "XK": "Kosovo; Republic of Kosovo; XKX",
    "ZA": "RSA",
    "ZZ": "Unspecified",
}
"""Names that neither list has, by code. `EL` is how the European Union writes Greece, and `UK` the Kingdom."""
COMMON_REGIONS = {
    "CA": {
        "AB": "Alta", "MB": "Man", "NL": "Labrador; Newfoundland; NF; Nfld", "NT": "NWT", "ON": "Ont", "PE": "PEI",
        "QC": "PQ; Que", "SK": "Sask", "YT": "YK; Yukon Territory",
    },
    "US": {
        "AA": "Armed Forces Americas", "AE": "Armed Forces Europe", "AP": "Armed Forces Pacific", "AL": "Ala", "AZ": "Ariz", "AR": "Ark",
        "CA": "Cal; Calif", "CO": "Colo", "CT": "Conn", "DC": "Washington DC", "DE": "Del", "FL": "Fla", "IL": "Ill", "IN": "Ind",
        "KS": "Kan; Kans", "MA": "Mass", "MI": "Mich", "MN": "Minn", "MS": "Miss", "MT": "Mont", "NE": "Neb; Nebr", "NV": "Nev",
        "NM": "N Mex", "OK": "Okla", "OR": "Ore; Oreg", "PA": "Penn; Penna",
        "TN": "Tenn", "TX": "Tex", "VI": "US Virgin Islands; Virgin Islands", "WA": "Wash",
        "WV": "W Va", "WI": "Wis; Wisc", "WY": "Wyo",
    },
}  # fmt: skip
"""Old and common names of regions, by country and the code behind the dash: of the countries whose tax depends on the region."""
OTHER_NAMES = ("common_name", "official_name")
"""What `pycountry` calls the further names of a country, where it has one."""
_SILENT = frozenset({"Lm", "Mn", "Mc", "Me", "Pf", "Pi"})
"""Categories of letters that do not tell two names apart: accents, and the typed kinds of an apostrophe."""
_PARTS = re.compile(r" ?[,/()\[\]]")
"""Between the names that ISO writes of one region: `Girona [Gerona]`, `Madrid, Comunidad de`."""
_WORD = re.compile(r"\w+")
_OF_REGION = re.compile(r"([A-Z]{2})-([A-Z0-9]{1,3})")
_INITIAL = re.compile(r"\b([^\W\d_])[. ]+(?=[^\W\d_]\b)")
"""A letter by itself before another one. A slash joins none: `N/A` is not Namibia."""
_TURNED = re.compile(r"([^,(\[]+)[,(\[]([^)\]]+)[)\]]?\s*")
_DASHES = r" [-\u2013\u2014] "
_BETWEEN = (
    re.compile(rf"[()\[\]/]|{_DASHES}"),
    re.compile(","),
    re.compile(r"[(\[](?=[^()\[\]]*[)\]]\s*$)|[)\]]\s*$"),
    re.compile(_DASHES),
)
"""Between two names of one place: `Eswatini (Swaziland)`, `USA - United States`, `England, UK`; a name with brackets or a slash may
have its code behind it in further ones, or before it."""
_SHORT = {
    "n": "north", "s": "south", "e": "east", "w": "west", "rep": "republic", "dem": "democratic", "fed": "federation", "is": "islands",
}  # fmt: skip
_NOT_APPLICABLE = re.compile(r"\s*n\W+a\W*", re.IGNORECASE)
"""`N.A.`, which people type where they have nothing to say, and which is not `NA`, Namibia."""


def country_code(text: str) -> str | None:
    """The alpha-2 code of a country by one of its codes or names; None when the table has none."""
    plain = unicodedata.normalize("NFKC", text)
    if _NOT_APPLICABLE.fullmatch(plain):
        return None
    return _country(plain) or _agreed(plain, _country)


def _country(text: str) -> str | None:
    turned = _TURNED.fullmatch(text)
    ways = (text, f"{turned[2]} {turned[1]}") if turned else (text,)
    return next((code for way in ways for name in _readings(way) if (code := _country_of(name))), None)


def _country_of(name: str) -> str | None:
    return _in_english().get(name) or _in_own_languages().get(name)


def region_code(country: str, text: str) -> str | None:
    """The part of ISO 3166-2 behind the dash, of a region of the country with that alpha-2 code: by that part, by the whole code
    or by the name. None when the country has no such region."""
    plain = unicodedata.normalize("NFKC", text)
    return _region(country, plain) or _agreed(plain, partial(_region, country))


def _region(country: str, text: str) -> str | None:
    lead, table = country.casefold(), _regions(country)
    for name in _readings(text):
        if code := table.get(name.removeprefix(f"{lead} ")) or table.get(name):
            return code
    # `JP13`, `EGC`: shops write such codes in capitals. In small letters it is a name: `Chur` is not Uri.
    whole = text.strip()
    return table.get(folded(whole.removeprefix(country))) if whole.startswith(country) and whole.isupper() else None


def _readings(text: str) -> Iterator[str]:
    """A text as this table compares it: as it is, then with dots as blanks, then with initials as one word, then in full words."""
    yield folded(text)
    yield folded(text.replace(".", " "))
    joined = folded(_INITIAL.sub(r"\1", text).replace(".", " "))
    yield joined
    yield " ".join(_SHORT.get(word, word) for word in joined.split())


def _agreed(text: str, code_of: Callable[[str], str | None]) -> str | None:
    """The code that each part of a text has; None where one has none or another."""
    for between in _BETWEEN:
        codes = {code_of(part) for part in between.split(text) if folded(part)}
        if len(codes) == 1 and (code := codes.pop()):
            return code
    return None


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
    for it in parts:  # codes go before names, and whole names before parts of one and before common ones
        _add(table, it.code.partition("-")[2], [it.code.partition("-")[2]])
    for it in parts:
        _add(table, it.code.partition("-")[2], [it.name])
    for it in parts:
        _add(table, it.code.partition("-")[2], [*_forms(it.name), *_PARTS.split(it.name)])
    for code, names in COMMON_REGIONS.get(country, {}).items():
        _add(table, code, [code, *names.split(";")])
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
