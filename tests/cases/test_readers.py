"""H: some readers are lenient and others are not. A byte order mark before a bank's answer halted an order after the money was taken."""

import gzip
import json
from codecs import BOM_UTF8, BOM_UTF16_BE
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from saga.core.connector import Connector
from saga.core.outcomes import OutcomeCode
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.classify import Answer, classify
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.surfaces.api import build_api
from saga.surfaces.contract import BODY_MAX
from services.skeleton.server import serve_in_thread
from tests.e2e.commands import ROOT, Place
from tests.integration.api.serving import order_values

BANK = Connector("bank", keys="serialise", remembers_rejections=True, rejected={402: "declined"})


class Charged(BaseModel):
    ref: str


def test_an_answer_may_begin_with_a_byte_order_mark() -> None:
    """F21: a success, and a "no", which was read all along."""
    done = classify(Answer(200, {}, BOM_UTF8 + b'{"ref": "r", "effects": []}'), BANK, Charged)
    assert (done.code, done.result and done.result.data, done.effects) == (OutcomeCode.SUCCEEDED, '{"ref":"r"}', ())
    said_no = classify(Answer(402, {}, BOM_UTF8 + b'{"code": "declined"}'), BANK, Charged)
    assert (said_no.code, said_no.detail) == (OutcomeCode.REJECTED, "declined")


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8-sig", "application/json; charset=iso-8859-1"),
        ("utf-16", "application/json"),
        ("utf-16-le", "application/json"),
        ("utf-32-be", ""),
        ("iso-8859-1", "application/json;charset=ISO-8859-1"),
        ("cp1252", 'application/problem+json; v=1; charset="windows-1252"'),
        *(
            ("iso-8859-1", f"application/json; charset={it}")
            for it in ("ISO_8859-1", "latin-1", "l1", "IBM819", "iso8859_1")
        ),
        ("iso-8859-15", "application/json; charset=latin-9"),
        ("cp1252", "application/json; charset=cp1252"),
    ],
)
def test_an_answer_is_read_in_whatever_it_is_written(encoding: str, said: str) -> None:
    """A success as well as a "no": a "no" was read in UTF-16, and a success was a defect after the money was taken."""
    headers = {"content-type": said}
    done = classify(Answer(200, headers, '{"ref": "Zoë", "effects": []}'.encode(encoding)), BANK, Charged)
    assert (done.code, done.result and done.result.data, done.effects) == (OutcomeCode.SUCCEEDED, '{"ref":"Zoë"}', ())
    said_no = classify(Answer(402, headers, '{"code": "declined", "detail": "é"}'.encode(encoding)), BANK, Charged)
    assert (said_no.code, said_no.detail) == (OutcomeCode.REJECTED, "declined: é")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "application/json",
        "application/json; charset=iso-8859-99",
        "x; charset=utf-7",
        "x; charset=U7",
        "x; charset=us-ascii",
        "x; charset=rot13",
        "x; charset=aliases",
    ],
)
def test_an_answer_in_nothing_known_is_a_defect(said: str) -> None:
    """It is not guessed, and no traceback."""
    body = '{"ref": "Zoë"}'.encode("iso-8859-1")
    assert classify(Answer(200, {"content-type": said}, body), BANK, Charged).code == OutcomeCode.DEFECT
    assert classify(Answer(402, {"content-type": said}, body), BANK, Charged).code != OutcomeCode.REJECTED


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "Sun, 29 Nov 2026 12:00:30 GMT", "date": "Sun, 29 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:00 GMT", "date": "Sun, 29 Nov 2026 12:00:30 GMT"}, 0.0),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:30 GMT"}, None),
        ({"retry-after": "soon", "date": "Sun, 29 Nov 2026 12:00:00 GMT"}, None),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:30 -0000", "date": "Sun, 29 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun Nov 29 12:00:30 2026", "date": "Sun, 29 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun Nov 29 12:00:30 2026", "date": "Sun Nov 29 12:00:00 2026"}, 30.0),
        ({"retry-after": "Sunday, 29-Nov-26 12:00:30 GMT", "date": "Sun Nov 29 12:00:00 2026"}, 30.0),
        ({"retry-after": "7"}, 7.0),
    ],
)
def test_when_to_try_again_may_be_a_date(headers: dict[str, str], wait_s: float | None) -> None:
    """Against the date of the answer, since clocks differ. Each of the three forms of RFC 9110 is read; that of asctime names no zone."""
    outcome = classify(Answer(503, headers, b""), BANK, Charged)
    assert (outcome.code, outcome.retry_after_s) == (OutcomeCode.THROTTLED, wait_s)


@pytest.fixture
def client() -> Iterator[TestClient]:
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="shop")
    app = build_api(store, Definitions([fulfil_order]), starter, lambda _: None)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
    starter.stop()


def post(client: TestClient, body: bytes, **headers: str) -> tuple[int, str]:
    sent = {"Content-Type": "application/json", "Idempotency-Key": "k-1", **headers}
    answer = client.post("/v1/orders", content=body, headers=sent)
    return answer.status_code, str(answer.json().get("code", ""))


def test_an_order_may_come_packed_or_marked(client: TestClient) -> None:
    """The same order under the same key, however it is written."""
    body = json.dumps(order_values()).encode()
    packed = {"Content-Encoding": "gzip"}
    for sent, headers in (
        (body, {}),
        (BOM_UTF8 + body, {}),
        (gzip.compress(body), packed),
        (gzip.compress(BOM_UTF8 + body), packed),
        (body.decode().encode("utf-16"), {}),
        (BOM_UTF16_BE + body.decode().encode("utf-16-be"), {"Content-Type": "application/json; charset=UTF-16"}),
        (gzip.compress(body.decode().encode("utf-16")), packed),
    ):
        assert post(client, sent, **headers) == (202, "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "cp500"])
def test_an_order_in_another_encoding_is_none(client: TestClient, encoding: str) -> None:
    """What docs/http-api.md says: UTF-8, or UTF-16 with a mark."""
    assert post(client, json.dumps(order_values()).encode(encoding)) == (400, "not_json")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", (400, "not_json")),
        (gzip.compress(b"{}")[:-4], (400, "not_json")),
        (gzip.compress(b"{}") + b"x", (400, "not_json")),
        (gzip.compress(b" " * (BODY_MAX + 1)), (413, "too_large")),
    ],
    ids=["no gzip", "cut off", "more behind it", "a bomb"],
)
def test_a_packed_body_is_held_to_the_same_bounds(client: TestClient, body: bytes, told: tuple[int, str]) -> None:
    """A short body may be a long one."""
    assert post(client, body, **{"Content-Encoding": "gzip"}) == told


@pytest.mark.parametrize(
    ("name", "value", "is_taken"),
    [
        ("Content-Type", "application/json; charset=UTF-8", True),
        ("Content-Type", 'Application/JSON;v=1;charset="utf-8"', True),
        ("Content-Type", "application/json; charset=utf-16", False),
        ("Content-Type", "application/json; charset=iso-8859-1", False),
        ("Content-Type", "application/json; charset=utf-8; charset=utf-16", False),
        ("Content-Type", "application/jsonp", False),
        ("Content-Type", "", False),
        ("Content-Encoding", "x-gzip", True),
        ("Content-Encoding", "GZIP", True),
        ("Content-Encoding", "deflate", False),
        ("Content-Encoding", "br", False),
        ("Content-Encoding", "gzip, gzip", False),
    ],
)
def test_a_body_is_json_in_utf_8(client: TestClient, name: str, value: str, *, is_taken: bool) -> None:
    """What else it says of itself is refused with what to send, before it is read."""
    body = json.dumps(order_values()).encode()
    packed = gzip.compress(body) if name == "Content-Encoding" else body
    assert post(client, packed, **{name: value}) == ((202, "") if is_taken else (415, "not_offered_type"))


@pytest.mark.parametrize(
    "twice", [("Content-Type", "text/plain"), ("Content-Encoding", "gzip"), ("Idempotency-Key", "k-2")]
)
def test_a_header_that_comes_twice_is_none(client: TestClient, twice: tuple[str, str]) -> None:
    """Nobody can tell which one was meant, and proxies take either."""
    once = [("Content-Type", "application/json"), ("Idempotency-Key", "k-1"), ("Content-Encoding", "gzip")]
    body = gzip.compress(json.dumps(order_values()).encode())
    answer = client.post("/v1/orders", content=body, headers=[*once, twice])
    assert answer.json()["code"] == ("key_malformed" if twice[0] == "Idempotency-Key" else "not_offered_type")


def test_a_service_reads_as_the_api_does(sqlite_url: str) -> None:
    """A byte order mark is passed over, and two keys are none."""
    service = serve_in_thread("payment", sqlite_url)
    body = BOM_UTF8 + b'{"order_id": "SO-1", "amount": 5, "currency": "GBP", "payment_method": "pm_card"}'
    try:
        url = f"{service.url}/v1/authorizations"
        one = httpx2.post(url, content=body, headers={"Idempotency-Key": "k-1"})
        two = httpx2.post(url, content=body, headers=[("Idempotency-Key", "k-1"), ("Idempotency-Key", "k-2")])
    finally:
        service.stop()
    assert one.status_code < 300, one.text
    assert (two.status_code, two.json()["code"]) == (400, "invalid_key")


def test_a_start_that_is_refused_stores_nothing(tmp_path: Path) -> None:
    """Not its definition either, which could not be mended then without another version."""
    place = Place(tmp_path, tmp_path / "home")
    shop = """
from pydantic import BaseModel
from saga.core.definition import Saga, readonly

class Order(BaseModel):
    order_id: str
    amount: float

def look(order: Order) -> None:
    pass

place = Saga("place", 1, Order, lambda order: order.order_id, [readonly(look)])
"""
    (tmp_path / "shop.py").write_text(shop)
    refused = place.run("start", "shop:place", '{"order_id": "1", "amount": 1e999}')
    assert (refused.code, "input of place, amount: " in refused.err) == (2, True)
    (tmp_path / "shop.py").write_text(shop.replace("float", "int"))
    assert place.run("start", "shop:place", '{"order_id": "1", "amount": 1}').code == 0


def test_a_file_with_a_mark_is_read(tmp_path: Path) -> None:
    """`saga start x @FILE`, as `saga orders submit` reads it."""
    place = Place(ROOT / "examples", tmp_path / "home")
    file = tmp_path / "order.json"
    file.write_bytes(BOM_UTF8 + b'{"order_id": "1", "sku": "A", "card": "4"}')
    assert place.run("start", "shop:place_order", f"@{file}").code == 0
