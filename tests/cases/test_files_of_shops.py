"""H: a file of orders is read in every way that shops and their spreadsheets write one, and each line of it is accounted for."""

import gzip
import json
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.fulfilment.order_files import read_orders
from saga.fulfilment.order_rows import Reading
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.surfaces.api import build_api
from saga.surfaces.contract import BODY_MAX
from tests.e2e.commands import ROOT, Place
from tests.integration.api.serving import order_values
from tests.unit.fulfilment.test_order_files import order_text
from tests.unit.fulfilment.test_shop_exports import LAYOUTS, SHOPIFY, SHOPIFY_MORE, WOO, WOO_MORE, text_of
from tests.unit.fulfilment.test_text_files import zipped

RETAIL = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
RETAIL_II = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country"
ROW = '1,A,"two\nlines",6.0,2010-12-01 08:26:00,2.55,17850.0,France'
SHOP = text_of(LAYOUTS["shopify"], SHOPIFY, SHOPIFY_MORE)
FILES = {
    "quotes in the header": f'"{RETAIL}"'.replace(",", '","') + f"\n{ROW}\n",
    "semicolons and decimal commas": f"{RETAIL.replace(',', ';')};more\n2;A;a;6;;1.002,55;17850,0;France;\n",
    "Online Retail II": f"{RETAIL_II}\n{ROW}\n",
    "tabs": f"{RETAIL}\n1,A,a,6,,2.55,17850.0,France\n".replace(",", "\t"),
    "Shopify": SHOP,
    "Shopify, Windows line ends": SHOP.replace("\r\n", "\n").replace("\n", "\r\n"),
    "WooCommerce": text_of(LAYOUTS["woo"], WOO, WOO_MORE),
    "JSON lines": order_text("SO-1") + "\n",
}  # fmt: skip
BYTES: dict[str, Callable[[str], bytes]] = {
    "UTF-8": str.encode,
    "UTF-8 with its mark": lambda text: BOM_UTF8 + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 BE": lambda text: BOM_UTF16_BE + text.encode("utf-16-be"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "zip": lambda text: zipped(("orders", text.encode())),
    "zip of UTF-16": lambda text: zipped(("orders", text.encode("utf-16"))),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("files")
    return Place(folder, folder / "home")


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("written", BYTES)
def test_a_file_is_taken(place: Place, kind: str, written: str) -> None:
    """Each kind, packed and encoded in each way, by the command that a person types."""
    (place.directory / "orders").write_bytes(BYTES[written](FILES[kind]))
    done = place.run("orders", "submit", "orders", "-o", "json")
    told = json.loads(done.out)
    assert (done.code, told["orders"], told["refused"]) == (0, 1, 0), done.err
    lines = told["lines"]
    assert lines["read"] == FILES[kind].count("\n") == lines["in_orders"] + lines["empty"]


def test_latin_1_is_said_and_not_guessed(place: Place) -> None:
    """Without a word its line is refused, and the reason names the option; with it the order is taken."""
    file = place.directory / "latin.csv"
    row = "7,A,Größe,1,2010-12-01 08:26:00,1.00,,France"
    file.write_bytes(f"{RETAIL}\n{row}\n8,A,a,1,2010-12-01 08:26:00,1.00,,France\n".encode("latin-1"))
    done = place.run("orders", "submit", "latin.csv")
    assert done.code == 0, done.err
    assert "lines 3   in orders 1   refused 1   skipped 0   empty or header 1" in done.out
    told = " ".join(done.out.split())
    assert "byte 6 is not UTF-8; a file in another encoding is read with --encoding" in told
    assert "7 (line 2)" in told
    done = place.run("orders", "submit", "latin.csv", "--encoding", "latin-1", "-o", "json")
    assert [json.loads(done.out)[name] for name in ("orders", "already", "refused")] == [2, 1, 0]
    done = place.run("orders", "submit", "latin.csv", "--encoding", "klingon")
    assert (done.code, "--encoding 'klingon': is not read; say one of utf-8, " in done.last_line) == (2, True), done.err


def test_each_refused_line_is_named(place: Place) -> None:
    """With the line at fault, and all that are refused with it; they and the others add up to the file."""
    rows = [
        "20,A,a,1,,1,,France",
        "20,B,b,0,,1,,France",
        "21,A,a,1,,1,,France",
        "20,C,c,1,,1,,France",
        "C22,A,a,-1,,1,,France",
        "A23,B,b,1,,-5,,",
        "",
    ]
    (place.directory / "rows.csv").write_text("\n".join([RETAIL, *rows]))
    told = json.loads(place.run("orders", "submit", "rows.csv", "-o", "json").out)
    assert told["refusals"] == [{"reference": "20", "reason": "line 3: Quantity: 0 is not above 0", "lines": "2-3, 5"}]
    assert told["lines"] == {"read": 7, "empty": 1, "in_orders": 1, "refused": 3, "skipped": 2}


def test_another_currency_is_said(place: Place) -> None:
    """Of a CSV that does not say it; JSON lines do."""
    (place.directory / "eur.csv").write_text(f"{RETAIL}\n30,A,a,1,,1,,France\n")
    (order,) = read_orders(place.directory / "eur.csv", reading=Reading(currency="EUR"))
    assert isinstance(order, Order)
    assert order.currency == "EUR"
    assert place.run("orders", "submit", "eur.csv", "--currency", "EUR").code == 0
    (place.directory / "eur.jsonl").write_text(order_text("SO-9"))
    done = place.run("orders", "submit", "eur.jsonl", "--currency", "EUR")
    assert (done.code, "each order of JSON lines says its currency; leave --currency out" in done.last_line) == (
        2,
        True,
    )


ORDER = '{"order_id": "%s", "sku": "A", "card": "4"}'


@pytest.mark.parametrize("written", BYTES)
def test_one_input_is_read_as_a_file_is(tmp_path: Path, written: str) -> None:
    """`saga start SAGA @FILE`."""
    place = Place(ROOT / "examples", tmp_path / "home")
    file = tmp_path / "order.json"
    file.write_bytes(BYTES[written](ORDER % "1"))
    assert place.run("start", "shop:place_order", f"@{file}").code == 0


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gzip.compress(b" " * (BODY_MAX + 1)), "is longer than an input may be"),
        (gzip.compress(b"{}")[:-5], "cannot be read"),
        (zipped(("a", b"{}"), ("b", b"{}")), "holds 2 files, 'a', 'b'; pack one file"),
        (b'{"order_id": "\xe9"}', "byte 14 is not UTF-8"),
        (BOM_UTF16_LE + b"{\x00}\x00\n", "byte 2 is not UTF-8"),
    ],
    ids=["a bomb", "cut off", "two files", "Latin-1", "half a character"],
)
def test_an_input_that_cannot_be_read_is_one_line(tmp_path: Path, data: bytes, says: str) -> None:
    """It names the file and why."""
    place = Place(ROOT / "examples", tmp_path / "home")
    file = tmp_path / "order.json"
    file.write_bytes(data)
    done = place.run("start", "shop:place_order", f"@{file}")
    assert (done.code, f"{file}: " in done.last_line, says in done.last_line) == (2, True, True), done.err


@pytest.fixture
def client() -> Iterator[TestClient]:
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="shop")
    app = build_api(store, Definitions([fulfil_order]), starter, lambda _: None)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
    starter.stop()


def test_a_body_may_have_any_mark(client: TestClient) -> None:
    """The same order under the same key; half a character is no JSON."""
    body = json.dumps(order_values())
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k-1"}
    for sent in (
        body.encode(),
        body.encode("utf-8-sig"),
        body.encode("utf-16"),
        BOM_UTF16_BE + body.encode("utf-16-be"),
    ):
        assert client.post("/v1/orders", content=sent, headers=headers).status_code == 202
    broken = client.post("/v1/orders", content=body.encode("utf-16")[:-1], headers=headers)
    assert (broken.status_code, broken.json()["code"]) == (400, "not_json")
