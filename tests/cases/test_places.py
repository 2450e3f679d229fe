"""G: one table of countries and regions, postcodes as people type them, and every country of ISO 3166 through the four services."""

from collections.abc import Iterator
from datetime import date
from itertools import count
from typing import Any

import pytest
import requests

from saga.core.states import SagaStatus
from saga.fulfilment import models as m
from saga.fulfilment.fulfil_order import fulfil_order
from saga.places import COMMON, countries, country_code, region_code, region_elsewhere
from saga.runtime.engine import fold
from saga.settings import Settings
from saga.surfaces.embedded import Stack, embedded
from saga.surfaces.reading import read_cause
from saga.surfaces.saga_page import saga_page
from saga.surfaces.showing import look_at
from services.payment.fraud import _place
from services.shipping import addresses
from services.shipping.models import Address
from services.skeleton.service import ExplainedRejection
from services.tax.rates import JURISDICTIONS, TaxClass, jurisdiction_of
from tests.e2e.orders import order
from tests.waiting import wait_until

TODAY = date(2026, 11, 29)
TYPED = {
    "AE": ["United Arab Emirates", "UAE", "ARE", "the Emirates"],
    "AT": ["Austria", "Österreich"],
    "BO": ["Bolivia", "Bolivia, Plurinational State of", "Bolivia (Plurinational State of)"],
    "CD": ["Congo - Kinshasa", "The Democratic Republic of the Congo", "DRC"],
    "CG": ["Congo", "Republic of the Congo"],
    "CI": ["Côte d'Ivoire", "Cote d’Ivoire", "Ivory Coast"],
    "CZ": ["Czechia", "Czech Republic", "CZE", "cz", " czechia "],
    "DE": ["Germany", "Deutschland", "Federal Republic of Germany"],
    "EU": ["European Community"],
    "GB": ["United Kingdom", "UK", "U.K.", "Great Britain", "England", "ＧＢ"],
    "GG": ["Guernsey", "Channel Islands"],
    "GR": ["Greece", "Ελλάδα", "Hellenic Republic", "EL"],
    "HK": ["Hong Kong", "Hong Kong SAR China"],
    "IE": ["Ireland", "EIRE", "Éire", "Republic of Ireland"],
    "IR": ["Iran", "Iran, Islamic Republic of"],
    "JP": ["Japan", "日本"],
    "KP": ["North Korea", "Democratic People's Republic of Korea"],
    "KR": ["South Korea", "Korea, Republic of", "Republic of Korea", "Korea (the Republic of)"],
    "NL": ["Netherlands", "The Netherlands", "Holland"],
    "RE": ["Réunion", "Reunion"],
    "RU": ["Russia", "Russian Federation", "Россия"],
    "SH": ["Saint Helena, Ascension and Tristan da Cunha", "St. Helena"],
    "TR": ["Türkiye", "Turkey"],
    "TT": ["Trinidad & Tobago", "Trinidad and Tobago"],
    "US": ["United States", "United States of America", "USA", "U.S.A.", "America"],
    "VG": ["British Virgin Islands", "Virgin Islands, British"],
    "VI": ["U.S. Virgin Islands", "Virgin Islands, U.S."],
    "XK": ["Kosovo"],
    "ZA": ["South Africa", "RSA"],
    "ZZ": ["Unspecified"],
}
WRITTEN = {
    "AE": ["United Arab Emirates (UAE)"],
    "BQ": ["Bonaire, Saint Eustatius and Saba", "Bonaire, St. Eustatius & Saba"],
    "CD": ["Congo (DRC)", "Congo (Democratic Republic of the)", "Congo, Democratic Republic of the"],
    "CF": ["Central African Rep."],
    "CG": ["Congo, Republic of the", "Congo (Republic of)"],
    "CN": ["中國", "China (Mainland)", "China, People's Republic of"],
    "CZ": ["Česká republika", "Czech Rep."],
    "FR": ["France, Metropolitan", "FRANCE (FR)"],
    "GB": ["United Kingdom (UK)", "U K", "United Kingdom [GB]", "England, UK"],
    "GR": ["Hellas"],
    "GS": ["South Georgia/Sandwich Islands"],
    "HK": ["Hongkong", "香港"],
    "IE": [
        "Ireland, Republic of",
        "Ireland (Republic of)",
        "Ireland, Republic Of (Eire)",
        "Éire / Ireland",
        "Ireland，Republic of",
    ],
    "KN": ["St.Kitts and Nevis"],
    "KP": ["N Korea", "N. Korea", "Korea, North"],
    "KR": ["S Korea", "S. Korea", "Korea, South", "Korea (South)"],
    "LC": ["St.Lucia"],
    "MK": ["Macedonia (FYROM)", "Macedonia, the Former Yugoslav Republic of"],
    "MO": ["澳門"],
    "PS": ["Palestinian Territory", "Palestinian Territory, Occupied"],
    "RE": ["Reunion Island"],
    "RU": ["Российская Федерация", "Russian Fed."],
    "SA": ["السعودية"],
    "SJ": ["Svalbard"],
    "SX": ["Saint Martin (Dutch part)"],
    "SZ": ["Swaziland (Eswatini)", "Eswatini (Swaziland)"],
    "TC": ["Turks and Caicos"],
    "TW": ["臺灣", "台灣"],
    "UM": ["United States (US) Minor Outlying Islands"],
    "US": ["U. S.", "U. S. A.", "United States (US)", "USA - United States", "US of America"],
    "VA": ["Vatican City State", "Vatican City State (Holy See)"],
    "VG": ["Virgin Islands (British)", "Virgin Islands (UK)"],
    "VI": ["United States Virgin Islands", "U.S. Virgin Is.", "Virgin Islands, U. S."],
    "ZA": ["S. Africa"],
}
"""What needs another reading of a text than the first, or a name that neither list has."""
NOWHERE = [
    "",
    " ",
    "Atlantis",
    "XX",
    "United",
    "United Kingdom, USA",
    "Korea",
    "Virgin Islands",
    "Korea (Virgin Islands)",
    "Isle of Man (GB, US)",
    "Georgia, USA",
    "United States (UK)",
    "N/A",
    "N. A.",
    "Ｎ／Ａ",
    "0",
    "🇫🇷",
    "\N{ZERO WIDTH SPACE}",
]


def typed_names() -> list[tuple[str, str]]:
    """Every code and every name of ISO's list and of `COMMON`, and those above."""
    iso = [(code, text) for code, name in countries().items() for text in (code, code.lower(), name, name.upper())]
    common = [(code, name.strip()) for code, names in COMMON.items() for name in names.split(";")]
    return (
        iso + common + [(code, name) for table in (TYPED, WRITTEN) for code, names in table.items() for name in names]
    )


def test_a_country_has_one_code_by_whatever_name() -> None:
    """F14: by ISO, CLDR, its own language and common English, by alpha-2 and alpha-3; what names no country or two has no code."""
    assert {text: country_code(text) for code, text in typed_names()} == {text: code for code, text in typed_names()}
    assert [country_code(text) for text in NOWHERE] == [None] * len(NOWHERE)
    assert len(countries()) == 249


def test_no_way_to_write_a_name_leads_to_another_country() -> None:
    """With dots for blanks, in initials, turned round, in brackets beside its code: it is that country's or nobody's; beside the name
    of another country it is nobody's."""
    for code, text in typed_names():
        dotted, apart = text.replace(" ", "."), " ".join(text)
        before, _, behind = text.rpartition(" ")
        ways = [dotted, apart, f"{behind}, {before}", f"{behind} ({before})", f"{text} ({code})", f"{code} - {text}"]
        assert {country_code(way) for way in ways} <= {code, None}, text
    for code, text in countries().items():
        assert [country_code(way) for way in (f"{text} ({code})", f"{code} - {text}")] == [code] * 2, text
    names = list(countries().items())
    for (_, one), (_, other) in zip(names, names[1:] + names[:1], strict=True):
        assert [country_code(text.format(one, other)) for text in ("{} ({})", "{}, {}", "{} / {}")] == [None] * 3, one


def test_tax_shipping_and_the_screen_agree_about_every_name() -> None:
    """F14: "United States" and "Czechia" were answered by tax and undeliverable for shipping."""
    taxed = {row.country for row in JURISDICTIONS}
    for code, text in typed_names():
        place = jurisdiction_of(text, None, TODAY)
        assert (place.country if place else None) == (code if code in taxed else None), text
        assert _place(text) == code, text
        with pytest.raises(ExplainedRejection) as refused:
            addresses.delivered(Address(name=" ", street="S 1", city="X", country=text))
        assert "country" not in str(refused.value), text


@pytest.mark.parametrize(
    ("country", "texts", "code", "label"),
    [
        ("CA", ["CA-QC", "QC", "ca-qc", "Québec", "Quebec"], "QC", "QC"),
        ("US", ["US-DC", "DC", "District of Columbia"], "DC", "DC"),
        ("US", ["US-CA", "California"], "CA", "CA"),
        ("ES", ["ES-B", "B", "Barcelona"], "B", "B"),
        ("ES", ["ES-GI", "Gerona", "Girona"], "GI", "GI"),
        ("ES", ["Madrid"], "M", "M"),
        ("JP", ["JP-13", "13", "Tokyo"], "13", "東京都"),
        ("KR", ["KR-11", "11"], "11", "서울특별시"),
        ("CN", ["CN-BJ", "BJ"], "BJ", "北京市"),
        ("AU", ["AU-NSW", "NSW", "New South Wales"], "NSW", "NSW"),
        ("IN", ["IN-TN", "Tamil Nadu"], "TN", "Tamil Nadu"),
        ("ES", ["ES-CT"], "CT", "ES-CT"),
        ("JP", ["JP13"], "13", "東京都"),
        ("EG", ["EGC"], "C", "القاهرة"),
        ("US", ["Washington, D.C.", "D. C.", "Washington DC"], "DC", "DC"),
        ("US", ["Calif.", "USCA", "California (CA)", "CA - California"], "CA", "CA"),
        ("US", ["N. Carolina"], "NC", "NC"),
        ("CA", ["Newfoundland", "NF"], "NL", "NL"),
        ("CA", ["PQ", "P.Q."], "QC", "QC"),
        ("CA", ["Yukon Territory"], "YT", "YT"),
    ],
    ids=lambda it: it if isinstance(it, str) and it.isascii() else "typed",
)
def test_a_region_goes_by_its_code_and_by_its_name(country: str, texts: list[str], code: str, label: str) -> None:
    """F15: ISO 3166-2 with the country and without, or a name; the label has the key that the country's list has."""
    for text in texts:
        assert region_code(country, text) == code, text
        address = Address(name="A", street="S 1", city="X", postcode=None, country=country, region=text)
        rules = addresses.rules_of(country)
        written = addresses._key_of_region(text, country, rules) or text
        assert written == (label if label != "ES-CT" else text), text
        assert "region" not in refusal_of(address)


def test_the_district_is_taxed_by_its_own_rate() -> None:
    """F15: `US-DC` was taxed at nothing, as an order without a region is."""
    place = jurisdiction_of("US", "US-DC", TODAY)
    assert place is not None
    assert (place.code, place.rate_of(TaxClass.STANDARD)) == ("US-DC", 6_000)


def refusal_of(address: Address) -> str:
    try:
        addresses.delivered(address)
    except ExplainedRejection as refused:
        return str(refused)
    return ""


def test_the_region_of_another_country_is_refused() -> None:
    """F15: the address contradicts itself, also where the country's own addresses have no region; a name alone does not."""
    for country, region in (("US", "CA-QC"), ("DE", "US-CA"), ("HK", "CN-BJ")):
        refusal = refusal_of(Address(name="A", street="S 1", city="X", postcode="1", country=country, region=region))
        assert f"region: is a region of {region[:2]}, and the country is {country}" in refusal
    assert region_elsewhere("DE", "US-ZZ") is region_code("GB", "") is region_code("GB", "-") is None
    assert region_elsewhere("DE", "Bavaria") is None


@pytest.mark.parametrize(
    ("country", "region", "postcode"),
    [
        ("IT", "Rome", "00118"),
        ("CN", "Beijing", "100000"),
        ("RU", "Moscow", "101000"),
        ("MX", "DF", "06000"),
        ("MY", "SGR", "40000"),
        ("EG", "Cairo", "11511"),
        ("TR", "TR34", "34000"),
        ("UA", "UA30", "01001"),
        ("CH", "Chur", "7000"),
    ],
)
def test_a_region_that_nobody_knows_stands_on_the_label(country: str, region: str, postcode: str) -> None:
    """Nothing depends on it but in the United States and Canada: orders to Rome and Beijing were lost. No region's postcodes are asked."""
    label = addresses.delivered(
        Address(name="A", street="S 1", city="X", postcode=postcode, country=country, region=region)
    )
    known = addresses._key_of_region(region, country, addresses.rules_of(country))
    is_used = "region" in addresses.rules_of(country).used
    assert label.region.upper() == ((known or region).upper() if is_used else "")
    assert bool(known) == (region in ("TR34", "UA30"))


@pytest.mark.parametrize(("country", "postcode"), [("US", "94117"), ("CA", "H1J 1C3")])
def test_where_the_tax_depends_on_it_a_region_is_known_or_not_given(country: str, postcode: str) -> None:
    """One that nobody knows would be taxed as if none were given. `-` and `N/A` are none."""
    address = Address(name="A", street="S 1", city="X", postcode=postcode, country=country, region="Rome")
    assert refusal_of(address) == "undeliverable: region: is no region of this country"
    assert {row.country for row in JURISDICTIONS if row.region} == addresses.REGION_DECIDES
    for none in ("-", "N/A", "none"):
        assert addresses.delivered(address.model_copy(update={"region": none})).region == ""


@pytest.mark.parametrize(
    ("country", "typed", "label"),
    [
        ("JP", "１５４−００２３", "154-0023"),
        ("JP", "〒154-0023", "154-0023"),
        ("JP", "１５４ー００２３", "154-0023"),
        ("JP", "1540023", "154-0023"),
        ("BR", "40301110", "40301-110"),
        ("PL", "00950", "00-950"),
        ("PT", "2725079", "2725-079"),
        ("CA", "h3z2y7", "H3Z 2Y7"),
        ("NL", "1234ab", "1234 AB"),
        ("GB", "ec1y8sy", "EC1Y 8SY"),
        ("GB", "G1 1AA", "G1 1AA"),
        ("GB", "GB-BT1 1AA", "BT1 1AA"),
        ("GB", "GM1 1AA", "GM1 1AA"),
        ("US", "941171234", "94117-1234"),
        ("US", "94117–1234", "94117-1234"),
        ("CZ", "10000", "100 00"),
        ("SE", "S-114 55", "11455"),
        ("DE", "D-10115", "10115"),
        ("DE", "DE 10115", "10115"),
        ("EG", "١١٥١١", "11511"),
        ("KR", "０３０５１", "03051"),
        ("IE", "d6wxnp2", "D6W XNP2"),
        ("DE", "D–10115", "10115"),
        ("DE", "D—10115", "10115"),
        ("DE", "PLZ 10115", "10115"),
        ("LV", "1010", "LV-1010"),
        ("AD", "500", "AD500"),
        ("KR", "(03051)", "03051"),
        ("SG", "S(018956)", "018956"),
        ("MX", "C.P. 01000", "01000"),
        ("BR", "CEP: 01310100", "01310-100"),
        ("IN", "PIN 110001", "110001"),
        ("GR", "T.K. 104 31", "104 31"),
        ("US", "ZIP code 90210", "90210"),
        ("LI", "FL-9490", "9490"),
        ("FI", "SF-00100", "00100"),
        ("FI", "FIN-00100", "00100"),
        ("FR", "75001 CEDEX", "75001"),
        ("FR", "F-75001 Cedex 08", "75001"),
        ("US", "CA 90210", "90210"),
        ("US", "USA CA 90210", "90210"),
        ("AU", "NSW 2000", "2000"),
        ("AU", "ACT 2600", "2600"),
        ("CA", "ON K1A 0B1", "K1A 0B1"),
        ("DE", "75001 CEDEX", "75001 CEDEX"),
        ("US", "CA 10001", "CA 10001"),
        ("DE", "F-10115", "F-10115"),
        ("DE", "1011", "1011"),
        ("DE", "10115 Berlin", "10115 BERLIN"),
    ],
)
def test_a_postcode_as_people_type_it(country: str, typed: str, label: str) -> None:
    """F16: full width, the mark of the post, digits of another script, a dash that is missing or another, what people write
    around it; the last five are none of the country (or of the state before it) and are refused as such."""
    assert addresses.postcode_of(typed, country) == label
    address = Address(name="A", street="S 1", city="X", postcode=typed, country=country)
    is_one = addresses._is_whole(label, addresses.rules_of(country))
    assert ("postcode: is no postcode of this country" in refusal_of(address)) == (not is_one)
    assert is_one == (label not in ("75001 CEDEX", "GM1 1AA", "CA 10001", "F-10115", "1011", "10115 BERLIN"))


def test_every_example_of_every_country_is_read_with_and_without_its_separators() -> None:
    """F16: what the country's own examples are is what comes out."""
    for code in countries():
        for example in addresses.rules_of(code).postcode_examples:
            for typed in (example, example.replace(" ", "").replace("-", ""), f" {example.lower()} "):
                assert addresses.postcode_of(typed, code) == example.upper(), (code, typed)


@pytest.mark.parametrize("none", [None, "0", "000000", "-", "n/a", "None", " ", "--", "."])
def test_no_postcode_is_none(none: str | None) -> None:
    """F17: Hong Kong, the Emirates and Ireland may have none, and what people type then is none; Germany wants one and says so."""
    for country in ("Hong Kong", "United Arab Emirates", "Ireland"):
        label = addresses.delivered(Address(name="A", street="S 1", city="X", postcode=none, country=country))
        assert label.postcode == ""
    address = Address(name="A", street="S 1", city="X", postcode=none, country="Germany")
    assert refusal_of(address) == "undeliverable: postcode: is required"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    with embedded(settings, [fulfil_order], port=None, with_broker=False) as found:
        stock = {"items": [{"sku": "MUG", "quantity": 10_000}]}
        url = f"{found.urls['inventory']}/v1/stock"
        assert requests.post(url, json=stock, headers={"Idempotency-Key": "stock"}, timeout=20).ok
        yield found


def sent_to(stack: Stack, changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Order id → the end of its saga, of orders that were accepted at once."""
    ids = []
    for change in changes:
        given = order(order_id=f"places-{next(NUMBERS)}", lines=[MUG], **change)
        given["customer_id"] = given["order_id"]
        ids.append(stack.starter.start(fulfil_order, m.Order.model_validate(given)).saga_id)
    rows = stack.store.row
    wait_until(lambda: all(row and row.ended_at for row in map(rows, ids)), 100.0, what="the ends")
    return {state.entity: state for state in (fold(stack.store.load([it])[it])[0] for it in ids)}


NUMBERS = count(1)
MUG = {"sku": "MUG", "quantity": 1, "unit_price": 1_000}


@pytest.mark.timeout(150)
def test_every_country_of_iso_3166_is_taxed_and_delivered_to(stack: Stack) -> None:
    """An order to each of the 249, by ISO's name of it and with an example of its own postcodes where it has some, completes; its tax
    is that of the country, and its label has the country's code."""
    changes = []
    for code, name in countries().items():
        example = next(iter(addresses.rules_of(code).postcode_examples), None)
        address = {"name": "Ada Example", "street": "S 1", "city": "X"} | ({"postcode": example} if example else {})
        changes.append({"country": name, "address": address})
    ends = sent_to(stack, changes)
    assert {one.entity: one.status for one in ends.values() if one.status is not SagaStatus.COMPLETED} == {}
    assert len(ends) == 249
    for code, state in zip(countries(), ends.values(), strict=True):
        checked, taxed = state.node("validate_address:a").result, state.node("calculate_tax:a").result
        assert m.ValidAddress.model_validate_json(checked.data).country_code == code
        place = jurisdiction_of(code, None, TODAY)
        rate = place.rate_of(TaxClass.STANDARD) if place else 0
        assert m.TaxQuote.model_validate_json(taxed.data).tax_amount == (1_000 * rate + 50_000) // 100_000


def test_what_shipping_says_of_an_address_is_kept_and_shown(stack: Stack) -> None:
    """F18: the field and its rule stand in the cause of the rollback."""
    address = {"name": "Ada Example", "street": "S 1", "city": "X", "postcode": "1011"}
    (state,) = sent_to(stack, [{"country": "Germany", "address": address}]).values()
    assert (state.status, state.cause.step) == (SagaStatus.COMPENSATED, "validate_address")
    reason = "postcode: is no postcode of this country; it is like 26133 or 53225"
    cause, row = read_cause(state.cause), stack.store.row(state.saga_id)
    assert cause is not None
    assert row is not None
    assert (cause.detail, cause.reason) == ("undeliverable", reason)
    assert f"   shipping says: {reason}\n" in saga_page(
        look_at(stack.store, row, [fulfil_order], stack.settings.mail_folder)
    )
