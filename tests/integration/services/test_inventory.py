"""The rules of the inventory service, on SQLite and PostgreSQL."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.inventory.service import SERVICE
from tests.integration.services.asking import DATABASES, Asked, Reply, asked, at_once

RESERVE, FIRM, COMMIT = "/v1/reservations", "/v1/reservations/firm", "/v1/reservations/commit"


@pytest.fixture(params=DATABASES)
def inventory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    """A service with 10 of A, 10 of B, 1 of C."""
    with asked(SERVICE, request.param, request, tmp_path) as service:
        items = [{"sku": sku, "quantity": quantity} for sku, quantity in (("A", 10), ("B", 10), ("C", 1))]
        assert service.post("/v1/stock", "provision", {"items": items}).status == 200
        yield service
        books_are_right(service)


def reserve(service: Asked, key: str, lines: dict[str, int], ttl_s: int = 900) -> Reply:
    body: dict[str, Any] = {"order_id": f"SO-{key}", "ttl_s": ttl_s}
    body["lines"] = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
    return service.post(RESERVE, key, body)


def named(key: str) -> dict[str, str]:
    return {"reservation_id": f"R-{key}"}


def shelf(service: Asked) -> dict[str, tuple[int, int, int]]:
    """SKU → available, reserved, shipped."""
    items = service.route("GET", "/v1/stock").body["items"]
    return {item["sku"]: (item["available"], item["reserved"], item["shipped"]) for item in items}


def books_are_right(service: Asked) -> None:
    """The ledger folds to the stock, and nothing is lost: checked after every test of this file."""
    buckets: Counter[tuple[str, str]] = Counter()
    for row in service.ledger():
        assert row["quantity"] > 0
        buckets[row["sku"], row["bucket_from"]] -= row["quantity"]
        buckets[row["sku"], row["bucket_to"]] += row["quantity"]
    for item in service.route("GET", "/v1/stock").body["items"]:
        sku = item["sku"]
        folded = [buckets[sku, name] for name in ("available", "reserved", "shipped")]
        assert folded == [item["available"], item["reserved"], item["shipped"]]
        assert item["initial"] == sum(folded) == -buckets[sku, "outside"]


def test_a_reservation_is_made_firm_and_ships(inventory: Asked) -> None:
    """Reserve, firm, commit: pieces go from available over reserved to shipped, and the effects name them."""
    made = reserve(inventory, "k1", {"B": 2, "A": 3})
    assert made.status == 201
    assert made.body["lines"] == [{"sku": "A", "quantity": 3}, {"sku": "B", "quantity": 2}]
    assert made.effects == [("stock", "A", 3), ("stock", "B", 2)]
    assert {effect["expires_at"] for effect in made.body["effects"]} == {made.body["expires_at"]}
    assert inventory.post(FIRM, "k2", named("k1")).body == {**named("k1"), "firm": True, "effects": []}
    assert inventory.post(COMMIT, "k3", named("k1")).body == {**named("k1"), "committed": True, "effects": []}
    assert shelf(inventory) == {"A": (7, 0, 3), "B": (8, 0, 2), "C": (1, 0, 0)}


def test_lines_of_one_sku_add_up(inventory: Asked) -> None:
    """Two lines of a SKU are one hold of both; together they may be too many."""
    lines = [{"sku": "A", "quantity": 6}, {"sku": "A", "quantity": 4}]
    assert inventory.post(RESERVE, "k1", {"order_id": "SO-1", "lines": lines}).status == 201
    assert shelf(inventory)["A"] == (0, 10, 0)
    assert inventory.post(RESERVE, "k2", {"order_id": "SO-2", "lines": lines}).code == "out_of_stock"


@pytest.mark.parametrize("last", ["C", "Z"], ids=["short", "unknown"])
def test_one_line_short_leaves_nothing(inventory: Asked, last: str) -> None:
    """The last of three SKUs is short or unknown: the rejection names it and nothing at all was moved."""
    before = inventory.ledger()
    refused = reserve(inventory, "k1", {"A": 1, "B": 1, last: 2})
    assert (refused.status, refused.code) == (409, "out_of_stock")
    assert refused.body["detail"] == f"not enough of {last}"
    assert shelf(inventory) == {"A": (10, 0, 0), "B": (10, 0, 0), "C": (1, 0, 0)}
    assert inventory.ledger() == before


def test_one_piece_is_sold_once(inventory: Asked) -> None:
    """100 orders for one piece from 8 threads: exactly one gets it."""
    replies = at_once([partial(reserve, inventory, f"k{number}", {"C": 1}) for number in range(100)])
    assert Counter(reply.code or "reserved" for reply in replies) == {"reserved": 1, "out_of_stock": 99}
    assert shelf(inventory)["C"] == (0, 1, 0)


def test_orders_with_their_lines_in_different_orders_do_not_lock_each_other_out(inventory: Asked) -> None:
    """A then B against B then A from 8 threads: every order is answered, and ten of them get the ten pieces of each."""
    both = [{"A": 1, "B": 1}, {"B": 1, "A": 1}]
    replies = at_once([partial(reserve, inventory, f"k{number}", both[number % 2]) for number in range(40)])
    assert Counter(reply.status for reply in replies) == {201: 10, 409: 30}


def test_undo_puts_a_reservation_back_once(inventory: Asked) -> None:
    """The undo of a firm reservation returns its pieces; a second undo under another key returns none."""
    reserve(inventory, "k1", {"A": 3})
    inventory.post(FIRM, "k2", named("k1"))
    assert inventory.undo(FIRM, "u2", "k2").body == {"undone": True, "effects": []}
    assert inventory.undo(RESERVE, "u1", "k1").effects == [("stock", "A", -3)]
    assert inventory.undo(RESERVE, "u9", "k1").body == {"undone": True, "effects": []}
    assert shelf(inventory)["A"] == (10, 0, 0)
    assert inventory.post(FIRM, "k3", named("k1")).code == "reservation_expired"
    assert inventory.post(COMMIT, "k4", named("k1")).code == "not_reserved"


def test_an_expired_hold_goes_back_when_its_skus_are_wanted(inventory: Asked) -> None:
    """Nobody asked for an expiry: its row has no key. The late undo reports the pieces as back, and moves none."""
    reserve(inventory, "k1", {"C": 1, "B": 4}, ttl_s=0)
    assert shelf(inventory)["C"] == (0, 1, 0)
    assert reserve(inventory, "k2", {"C": 1}).status == 201
    expiry = [row for row in inventory.ledger() if row["operation"] == "expiry"]
    assert [(row["sku"], row["order_id"], row["key"]) for row in expiry] == [("B", "SO-k1", ""), ("C", "SO-k1", "")]
    assert shelf(inventory) == {"A": (10, 0, 0), "B": (10, 0, 0), "C": (0, 1, 0)}
    assert inventory.undo(RESERVE, "u1", "k1").effects == [("stock", "B", -4), ("stock", "C", -1)]
    assert shelf(inventory)["C"] == (0, 1, 0)


def test_an_expired_hold_is_put_back_once(inventory: Asked) -> None:
    """One expired piece and 40 orders from 8 threads: its hold expires once, and one order gets it."""
    reserve(inventory, "k", {"C": 1}, ttl_s=0)
    replies = at_once([partial(reserve, inventory, f"k{number}", {"C": 1}) for number in range(40)])
    assert Counter(reply.status for reply in replies) == {201: 1, 409: 39}
    assert len([row for row in inventory.ledger() if row["operation"] == "expiry"]) == 1


def test_firm_on_an_expired_hold_reserves_again(inventory: Asked) -> None:
    """There is enough: the hold is firm and cannot be taken any more; made unfirm, it expires again."""
    reserve(inventory, "k1", {"C": 1}, ttl_s=0)
    assert inventory.post(FIRM, "k2", named("k1")).status == 200
    assert reserve(inventory, "k3", {"C": 1}).code == "out_of_stock"
    assert inventory.undo(FIRM, "u2", "k2").body["undone"] is True
    assert reserve(inventory, "k4", {"C": 1}).status == 201
    assert inventory.undo(RESERVE, "u1", "k1").effects == [("stock", "C", -1)]


def test_firm_takes_back_what_expired_and_lies_on_the_shelf(inventory: Asked) -> None:
    """The hold expired, its piece went to another order and came back: firm reserves it again for the first one."""
    reserve(inventory, "k1", {"C": 1}, ttl_s=0)
    reserve(inventory, "k2", {"C": 1})
    inventory.undo(RESERVE, "u2", "k2")
    assert inventory.post(FIRM, "k3", named("k1")).status == 200
    assert inventory.post(COMMIT, "k4", named("k1")).status == 200
    assert shelf(inventory)["C"] == (0, 0, 1)


def test_firm_is_rejected_when_somebody_else_has_the_pieces(inventory: Asked) -> None:
    """The hold expired and its piece went to another order: `reservation_expired`, and that order keeps it."""
    reserve(inventory, "k1", {"C": 1}, ttl_s=0)
    reserve(inventory, "k2", {"C": 1})
    refused = inventory.post(FIRM, "k3", named("k1"))
    assert (refused.status, refused.code) == (409, "reservation_expired")
    assert inventory.post(COMMIT, "k4", named("k1")).code == "not_reserved"
    assert inventory.post(COMMIT, "k5", named("k2")).status == 200


def test_what_has_left_the_house_is_not_put_back(inventory: Asked) -> None:
    """Undo of a committed reservation, or of its firmness, is refused; a second commit is `not_reserved`."""
    reserve(inventory, "k1", {"A": 3})
    inventory.post(FIRM, "k2", named("k1"))
    inventory.post(COMMIT, "k3", named("k1"))
    assert inventory.undo(RESERVE, "u1", "k1").code == "committed"
    assert inventory.undo(FIRM, "u2", "k2").code == "committed"
    assert inventory.post(COMMIT, "k4", named("k1")).code == "not_reserved"
    assert shelf(inventory)["A"] == (7, 0, 3)


def test_provisioning_adds_once_per_key(inventory: Asked) -> None:
    """POST and PUT add to what is there, a repeat under the same key does not, another body under it is refused."""
    items = {"items": [{"sku": "N", "quantity": 5}, {"sku": "A", "quantity": 1}, {"sku": "N", "quantity": 2}]}
    assert inventory.post("/v1/stock", "p1", items).status == 200
    assert inventory.post("/v1/stock", "p1", items).is_replayed
    put = partial(inventory.route, "PUT", "/v1/stock/{sku}", sku="N")
    assert put("p2", {"quantity": 3}).body["available"] == 10
    assert put("p2", {"quantity": 3}).body["available"] == 10
    assert (put("p2", {"quantity": 4}).code, put("", {"quantity": 4}).code) == ("key_reused", "missing_key")
    assert inventory.route("PUT", "/v1/stock/{sku}", "p3", {"quantity": 1}, sku="a/b").code == "invalid"
    assert inventory.route("GET", "/v1/stock/{sku}", sku="none").code == "unknown_sku"
    assert shelf(inventory) == {"A": (11, 0, 0), "B": (10, 0, 0), "C": (1, 0, 0), "N": (10, 0, 0)}


def test_a_large_order_is_a_few_statements(inventory: Asked) -> None:
    """675 lines, as the largest order of the Online Retail data has, are reserved, made firm and shipped."""
    lines = {f"L{number:03}": 2 for number in range(675)}
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
    inventory.post("/v1/stock", "p1", {"items": items})
    assert len(reserve(inventory, "k1", lines).effects) == 675
    inventory.post(FIRM, "k2", named("k1"))
    inventory.post(COMMIT, "k3", named("k1"))
    assert {shelf(inventory)[sku] for sku in lines} == {(0, 0, 2)}


def test_a_reservation_that_nobody_made(inventory: Asked) -> None:
    """Firm and commit of an unknown reservation: 404, which no connector takes for a business rejection."""
    assert inventory.post(FIRM, "k1", named("none")).status == 404
    assert inventory.post(COMMIT, "k2", named("none")).status == 404
