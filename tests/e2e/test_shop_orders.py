"""Orders as shops have them, from the door to the books: through the API, the four services, the mailbox, the commands and the audit."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import requests

from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.settings import Settings
from saga.surfaces.audit import audit
from saga.surfaces.embedded import Stack, embedded
from tests.e2e.commands import Place
from tests.waiting import wait_until

ORDER_ID, SKU, OTHER = "A/B #7 ü", "X/1 #2", "50% off?"
WAIT_S = "wait=30"
LEEDS = {"name": "A Person", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"}

pytestmark = pytest.mark.timeout(120)


@dataclass
class Shop:
    """A stack with an API, and commands beside it."""

    stack: Stack
    place: Place

    @property
    def url(self) -> str:
        assert self.stack.api_url is not None
        return self.stack.api_url

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=60)

    def order(self, order_id: str, **changes: Any) -> requests.Response:
        """The answer to an order once it has ended."""
        values = {
            "order_id": order_id,
            "customer_id": f"C {order_id[:30]}",
            "currency": "GBP",
            "country": "United Kingdom",
            "address": LEEDS,
            "lines": [{"sku": SKU, "quantity": 3, "unit_price": 500}],
            "payment_method": "pm_card",
        }
        key = quote(f"key {order_id}")
        return self.ask("POST", "/v1/orders", values | changes, **{"Idempotency-Key": key, "Prefer": WAIT_S})

    def run(self, *arguments: str) -> str:
        done = self.place.run(*arguments)
        assert done.code == 0, done.err
        return done.out

    def shelf(self, sku: str) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(
            f"{self.stack.urls['inventory']}/v1/stock/{quote(sku, safe='')}", timeout=10
        ).json()
        return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The whole product; at the end its books agree."""
    place = Place(tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("home"))
    with embedded(Settings(home=place.home), [fulfil_order, return_order], with_broker=False) as stack:
        for number, sku in enumerate((SKU, OTHER)):
            stock = {"quantity": 100, "warehouse": "Lager 1/Süd"}
            url = f"{stack.urls['inventory']}/v1/stock/{quote(sku, safe='')}"
            assert requests.put(url, json=stock, headers={"Idempotency-Key": f"s{number}"}, timeout=20).ok
        yield Shop(stack, place)
        urls = {name: url for name, url in stack.urls.items() if name != "api"}
        report = audit(stack.store, stack.definitions, urls, stack.settings.mail_folder)
        assert [f"{it.invariant} {it.order_id} {it.detail}" for it in report.violations] == []


def test_an_order_of_any_id_is_shown_watched_returned_mailed(shop: Shop) -> None:
    """Its links work, its events are told, its pieces come back, its mails name it, and each command takes it as it is typed."""
    done = shop.order(ORDER_ID)
    shown = done.json()
    assert (done.status_code, shown["status"], shown["order_id"]) == (200, "confirmed", ORDER_ID)
    assert done.headers["location"] == shown["links"]["order"] == "/v1/orders/A%2FB%20%237%20%C3%BC"
    assert shop.shelf(SKU)["sku"] == SKU
    events = requests.get(f"{shop.url}{shown['links']['order']}/events", timeout=30).text
    assert '"status":"confirmed"' in events.replace(" ", "")
    back = shop.ask(
        "POST",
        shown["links"]["returns"],
        {"lines": [{"sku": SKU, "quantity": 1}], "reason": "broken"},
        **{"Idempotency-Key": "r1"},
    )
    assert (back.status_code, back.json()["return_id"]) == (202, f"R1.{ORDER_ID}")
    assert shop.ask("GET", back.json()["links"]["order"]).json()["returns"][0]["lines"] == [{"sku": SKU, "quantity": 1}]
    told = json.loads(shop.run("return", ORDER_ID, "--line", f"{SKU}=1", "--wait", "-o", "json"))
    assert (told["return_id"], told["saga_status"]) == (f"R2.{ORDER_ID}", "completed")
    assert ORDER_ID in shop.run("show", ORDER_ID)
    assert json.loads(shop.run("show", ORDER_ID, "-o", "json"))["entity"] == ORDER_ID
    assert "confirmed" in shop.run("watch", ORDER_ID)
    assert SKU in shop.run("ledger", "inventory", ORDER_ID)
    mails = [json.loads(line) for line in shop.run("mailbox", ORDER_ID, "-o", "jsonl").splitlines()]
    assert {mail["order"] for mail in mails} == {ORDER_ID}
    assert {mail["return"] for mail in mails} >= {None, f"R2.{ORDER_ID}"}
    assert all(mail["to"].isascii() for mail in mails)


def test_an_order_of_any_id_is_refused_a_second_time_and_cancelled(shop: Shop) -> None:
    """One that is rolled back is accepted again under its id; a cancel of it is the cancel of this order."""
    first = shop.order(OTHER, payment_method="pm_declined", lines=[{"sku": OTHER, "quantity": 1, "unit_price": 500}])
    assert (first.json()["status"], first.json()["cause"]["detail"]) == ("failed", "declined")
    cancelled = shop.ask("POST", first.json()["links"]["cancel"], {"reason": "asked"})
    assert (cancelled.status_code, cancelled.json()["cancel"], cancelled.json()["order_id"]) == (200, "done", OTHER)
    assert shop.place.run("cancel", OTHER, "--reason", "asked").code == 0
    assert shop.shelf(OTHER)["available"] == 100


def test_goods_that_are_given_away_are_sent(shop: Shop) -> None:
    """Freight alone is paid, the mail says so, and nothing of the goods can be refunded; what was paid beside them can."""
    gift = {"sku": SKU, "quantity": 2, "unit_price": 0}
    done = shop.order("gift 1", lines=[gift]).json()
    assert (done["status"], done["goods"], done["total"] > 0) == ("confirmed", 0, True), done
    [mail] = [json.loads(line) for line in shop.run("mailbox", "gift 1", "-o", "jsonl").splitlines()]
    assert "Goods     £0.00" in mail["text"]
    back = shop.ask("POST", done["links"]["returns"], {"reason": "unwanted"}, **{"Idempotency-Key": "g1"})
    assert (back.status_code, back.json()["code"]) == (422, "worth_nothing")
    beside = shop.order("gift 2", lines=[gift, {"sku": SKU, "quantity": 1, "unit_price": 500}]).json()
    back = shop.ask("POST", beside["links"]["returns"], {"reason": "unwanted"}, **{"Idempotency-Key": "g2"})
    assert (back.status_code, back.json()["goods"], back.json()["lines"]) == (202, 500, [{"sku": SKU, "quantity": 3}])
    assert (
        json.loads(shop.run("return", "gift 2", "--wait", "-o", "json", "--key", "g2", "--reason", "unwanted"))[
            "saga_status"
        ]
        == "completed"
    )


def test_a_whole_address_of_a_shop(shop: Shop) -> None:
    """Two lines of a street, a company, a phone, and a mail address whose domain has an umlaut."""
    address = {**LEEDS, "street2": "Flat 3", "company": "Böcker & Co.", "phone": "+44 113 496-0000"}
    done = shop.order("company", address=address, email="ada@bücher.example").json()
    assert done["status"] == "confirmed"
    [mail] = [json.loads(line) for line in shop.run("mailbox", "company", "-o", "jsonl").splitlines()]
    assert mail["to"] == "ada@xn--bcher-kva.example"


def test_the_longest_order(shop: Shop) -> None:
    """10,000 lines of SKUs as long as they may be, through the four services and back, in one request to each participant."""
    skus = [f"{number:05} " + "#" * 58 for number in range(10_000)]
    stock = {"items": [{"sku": sku, "quantity": 1} for sku in skus]}
    url = f"{shop.stack.urls['inventory']}/v1/stock"
    assert requests.post(url, json=stock, headers={"Idempotency-Key": "long"}, timeout=60).ok
    done = shop.order("long", lines=[{"sku": sku, "quantity": 1, "unit_price": 1} for sku in skus])
    links = done.json()["links"]
    shown = shop.ask("GET", links["order"], Prefer=WAIT_S).json()
    assert (shown["status"], len(shown["lines"]), shown["goods"]) == ("confirmed", 10_000, 10_000)
    back = shop.ask("POST", links["returns"], {"reason": "all of it"}, **{"Idempotency-Key": "long-back"})
    assert (back.status_code, back.json()["goods"]) == (202, 10_000)
    wait_until(lambda: shop.shelf(skus[0])["available"] == 1, 60, what="the pieces are back")
    assert "COMPLETED" in shop.run("show", "long")
    [mail, *_] = [json.loads(line) for line in shop.run("mailbox", "long", "-o", "jsonl").splitlines()]
    assert "Your parcel of 10000 items" in mail["text"]
    assert len(mail["text"]) < 1_000


def test_an_order_of_a_file_has_any_id(shop: Shop) -> None:
    """Handed over to the API under a key of visible ASCII; the same file again asks for nothing new."""
    values = {
        "order_id": "注文 #9",
        "customer_id": "C 9",
        "currency": "GBP",
        "country": "United Kingdom",
        "address": LEEDS,
        "lines": [{"sku": SKU, "quantity": 1, "unit_price": 500}],
        "payment_method": "pm_card",
    }
    (shop.place.directory / "orders.jsonl").write_text(json.dumps(values))
    for submitted in (1, 0):
        tally = json.loads(shop.run("orders", "submit", "orders.jsonl", "--api", shop.url, "--wait", "-o", "json"))
        assert (tally["submitted"], tally["already"], tally["refused"]) == (submitted, 1 - submitted, 0), tally
    assert shop.ask("GET", "/v1/orders/" + quote("注文 #9")).json()["status"] == "confirmed"
