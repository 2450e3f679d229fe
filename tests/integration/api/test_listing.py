"""GET /v1/orders: the orders of one environment and tenant, filtered in the database, page by page."""

import json
import re
from base64 import urlsafe_b64encode
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from saga.core.outcomes import Outcome, OutcomeCode
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.runtime.starting import Starter
from tests.integration.api.serving import Shop, order_values, problem

DECLINED = {"authorize_payment:a": Outcome(OutcomeCode.REJECTED, "declined")}
BROKEN = {"authorize_payment:a": Outcome(OutcomeCode.DEFECT, "answer 200 that does not parse")}


OWN = "/v1/orders 2030-01-01T00:00:00+00:00 zzz"
FOREIGN = (
    "/v1/sagas 2030-01-01T00:00:00+00:00 zzz",
    "/v1/orders 2030-01-01T00:00:00 zzz",
    "/v1/orders 2030-01-01T01:00:00+01:00 zzz",
    "/v1/orders 2030-W01-1T00:00:00+00:00 zzz",
    "/v1/orders 9999-12-31T23:59:59-10:00 zzz",
    "/v1/orders 2030-01-01T00:00:00+00:00 ",
    "/v1/orders 2030-01-01T00:00:00+00:00 a\x00b",
    "/v1/orders 2030-01-01T00:00:00+00:00 zzz\u200bzzz",
    f"/v1/orders 2030-01-01T00:00:00+00:00 {'z' * 65}",
)
"""What no page of this list would say: of another list, without a zone, in another zone or form, with an id that none is."""


def made_up(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


def listed(shop: Shop, query: str = "") -> list[str]:
    """The ids of the orders on one page."""
    answer = shop.client.get(f"/v1/orders?{query}")
    assert answer.status_code == 200, answer.text
    return [item["order_id"] for item in answer.json()["items"]]


def test_the_list_shows_each_order_as_it_stands(shop: Shop) -> None:
    """View, status of the saga, reason of a halt, money and instants follow each decision, on every database."""
    ended, halted, fresh = (shop.accepted(order_id=f"SO-{n}") for n in range(3))
    shop.move(ended)
    shop.move(halted, BROKEN)
    items = {it["order_id"]: it for it in shop.client.get("/v1/orders").json()["items"]}
    assert list(items) == ["SO-2", "SO-1", "SO-0"]
    done = items["SO-0"]
    assert (done["status"], done["saga_status"], done["saga_id"]) == ("confirmed", "completed", ended)
    assert (done["goods"], done["total"], done["currency"], done["customer_id"]) == (1530, 2045, "GBP", "C7")
    assert done["ended_at"] > done["accepted_at"]
    assert done["links"]["order"] == "/v1/orders/SO-0"
    assert (items["SO-1"]["status"], items["SO-1"]["halt_reason"]) == ("processing", "defect")
    assert (items["SO-2"]["saga_id"], items["SO-2"]["total"], items["SO-2"]["ended_at"]) == (fresh, None, None)


def test_a_saga_was_accepted_at_one_instant(shop: Shop) -> None:
    """Both lists, the order, the saga and its journal say the same, to the last digit, on every database."""
    saga_id = shop.accepted()
    saga, get = f"/v1/sagas/{saga_id}", shop.client.get
    said = [get(path).json()["items"][0]["accepted_at"] for path in ("/v1/orders", "/v1/sagas")]
    said += [get(path).json()["accepted_at"] for path in ("/v1/orders/SO-1", saga)]
    said.append(get(f"{saga}/journal").json()["entries"][0]["at"])
    assert len({datetime.fromisoformat(at) for at in said}) == 1, said


def test_an_order_of_several_runs_is_listed_once(shop: Shop) -> None:
    """After a rollback and a second submission there is one line, of the second saga."""
    shop.move(shop.accepted(), DECLINED)
    second = shop.post(order_values(), key="second").json()["saga_id"]
    [item] = shop.client.get("/v1/orders").json()["items"]
    assert (item["saga_id"], item["run"], item["status"]) == (second, 2, "processing")


def test_filters_by_view_and_customer(shop: Shop) -> None:
    """Both filter together; several views are one of them; nothing found is an empty page without a link."""
    for number in range(6):
        saga_id = shop.accepted(order_id=f"SO-{number}", customer_id=f"C{number % 2}")
        if number < 4:
            shop.move(saga_id, DECLINED if number < 2 else None)
    assert listed(shop, "status=failed") == ["SO-1", "SO-0"]
    assert listed(shop, "status=failed&status=confirmed") == ["SO-3", "SO-2", "SO-1", "SO-0"]
    assert listed(shop, "customer_id=C1") == ["SO-5", "SO-3", "SO-1"]
    assert listed(shop, "customer_id=C1&status=processing&status=failed") == ["SO-5", "SO-1"]
    assert listed(shop, "customer_id=C2") == []
    assert "link" not in shop.client.get("/v1/orders?limit=6").headers


def test_pages_hold_each_order_once(shop: Shop) -> None:
    """Following `Link` gives every order, the latest first, each once, also while new ones arrive; the filters stay."""
    for number in range(7):
        shop.accepted(order_id=f"SO-{number}")
    seen: list[str] = []
    path = "/v1/orders?status=processing&status=paid&customer_id=C7&limit=2"
    while path:
        answer = shop.client.get(path)
        seen += [item["order_id"] for item in answer.json()["items"]]
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("link", ""))
        path = link.group(1) if link else ""
        if path:
            query = parse_qs(urlsplit(path).query)
            assert (query["status"], query["customer_id"]) == (["processing", "paid"], ["C7"])
        shop.accepted(order_id=f"late-{len(seen)}")
    assert seen == [f"SO-{number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize(("environment", "tenant"), [("test", "other"), ("live", "shop")])
def test_orders_of_others_are_not_there(shop: Shop, environment: str, tenant: str) -> None:
    """An order of another tenant or environment is in no list, and to show, follow, cancel or return it is 404: it stays as it
    is. So it is over a store that has all of them, such as that of a process whose worker runs every tenant."""
    starter = Starter(shop.store, environment=environment, tenant=tenant)
    foreign = starter.start(fulfil_order, Order.model_validate_json(json.dumps(order_values())))
    starter.stop()
    assert listed(shop) == []
    saga = f"/v1/sagas/{foreign.saga_id}"
    for path in ("/v1/orders/SO-1", "/v1/orders/SO-1/events", saga, f"{saga}/journal"):
        problem(shop.client.get(path), 404, "not_found")
        problem(shop.client.get(path, headers={"Prefer": "wait=1", "If-None-Match": "*"}), 404, "not_found")
    problem(shop.cancel(), 404, "not_found")
    problem(shop.give_back(), 404, "not_found")
    assert shop.client.get("/v1/sagas").json()["items"] == []
    assert shop.client.get("/v1/sagas?entity=SO-1").json()["items"] == []
    assert shop.kinds(foreign.saga_id) == ["saga_accepted"]
    own = shop.accepted()
    assert [it["saga_id"] for it in shop.client.get("/v1/orders").json()["items"]] == [own]
    [row] = shop.client.get("/v1/sagas").json()["items"]
    assert (row["saga_id"], row["environment"], row["tenant"]) == (own, "test", "shop")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("status=compensated", "query.status.0"),
        ("customer_id=", "query.customer_id"),
        ("customer_id=a%00b", "query.customer_id"),
        ("cursor=!!!", "query.cursor"),
        ("cursor=MjAyNi0wMS0wMQ==", "query.cursor"),
        *((f"cursor={made_up(text)}", "query.cursor") for text in FOREIGN),
        (f"cursor=!!{made_up(OWN)}", "query.cursor"),
        ("custmer_id=C7", "query.custmer_id"),
        ("limit=1&limit=2", "query.limit"),
        ("customer_id=C7&customer_id=C8", "query.customer_id"),
    ],
)
def test_a_bad_query_is_422(shop: Shop, query: str, field: str) -> None:
    """What cannot be asked is refused with its field, on every database."""
    found = problem(shop.client.get(f"/v1/orders?{query}"), 422, "invalid")
    assert [error["field"] for error in found["errors"]] == [field]


def test_a_cursor_of_the_list_is_taken(shop: Shop) -> None:
    """The one that the refused ones differ from, each in one thing."""
    shop.accepted()
    assert listed(shop, f"cursor={made_up(OWN)}") == ["SO-1"]


def test_a_bad_query_of_the_sagas_is_422(small_shop: Shop) -> None:
    """The other list has the same rules."""
    for query, field in (("state=halted", "query.state"), (f"cursor={made_up(OWN)}", "query.cursor")):
        found = problem(small_shop.client.get(f"/v1/sagas?{query}"), 422, "invalid")
        assert [error["field"] for error in found["errors"]] == [field]
