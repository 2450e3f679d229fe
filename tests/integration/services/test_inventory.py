"""The rules of the inventory service, on SQLite and PostgreSQL."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from services.inventory.service import SERVICE
from services.skeleton.database import Database
from services.skeleton.server import serve
from tests.integration.services.asking import DATABASES, Asked, Reply, asked, at_once
from tests.waiting import wait_until

RESERVE, FIRM, COMMIT = "/v1/reservations", "/v1/reservations/firm", "/v1/reservations/commit"
RESTOCK = "/v1/restocks"
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


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
    """The ledger folds to the stock of each warehouse, and nothing is lost: checked after every test of this file."""
    names = ("available", "reserved", "shipped")
    buckets: Counter[tuple[str, str, str]] = Counter()
    for row in service.ledger():
        assert row["quantity"] > 0
        buckets[row["sku"], row["warehouse"], row["bucket_from"]] -= row["quantity"]
        buckets[row["sku"], row["warehouse"], row["bucket_to"]] += row["quantity"]
    for item in service.route("GET", "/v1/stock").body["items"]:
        parts = item["warehouses"]
        for part in parts:
            place = (item["sku"], part["warehouse"])
            folded = [buckets[*place, name] for name in names]
            assert folded == [part[name] for name in names]
            assert part["initial"] == sum(folded) == -buckets[*place, "outside"]
        assert all(item[name] == sum(part[name] for part in parts) for name in ("initial", *names))


def test_a_reservation_is_made_firm_and_ships(inventory: Asked) -> None:
    """Reserve, firm, commit: pieces go from available over reserved to shipped, and the effects name them."""
    made = reserve(inventory, "k1", {"B": 2, "A": 3})
    assert made.status == 201
    assert made.body["lines"] == [line("A", 3, "main"), line("B", 2, "main")]
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
    assert inventory.route("PUT", "/v1/stock/{sku}", "p3", {"quantity": 1}, sku="a\nb").code == "invalid"
    assert inventory.route("GET", "/v1/stock/{sku}", sku="none").code == "unknown_sku"
    assert shelf(inventory) == {"A": (11, 0, 0), "B": (10, 0, 0), "C": (1, 0, 0), "N": (10, 0, 0)}


def test_a_large_order_is_a_few_statements(inventory: Asked) -> None:
    """1,114 lines, more than the largest order of the Online Retail data has SKUs, are reserved, made firm, shipped and returned."""
    lines = {f"L{number:04}": 2 for number in range(1114)}
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
    inventory.post("/v1/stock", "p1", {"items": items})
    assert len(reserve(inventory, "k1", lines).effects) == 1114
    inventory.post(FIRM, "k2", named("k1"))
    inventory.post(COMMIT, "k3", named("k1"))
    after = shelf(inventory)
    assert {after[sku] for sku in lines} == {(0, 0, 2)}
    assert restock(inventory, "t1", "SO-k1", *(line(sku, 1) for sku in lines)).status == 201
    after = shelf(inventory)
    assert {after[sku] for sku in lines} == {(1, 0, 1)}


def test_a_reservation_that_nobody_made(inventory: Asked) -> None:
    """Firm and commit of an unknown reservation: 404, which no connector takes for a business rejection."""
    assert inventory.post(FIRM, "k1", named("none")).status == 404
    assert inventory.post(COMMIT, "k2", named("none")).status == 404


@pytest.fixture
def spread(inventory: Asked) -> Asked:
    """Beside them, D: 3 in `east`, 2 in `north`, 4 in `west`."""
    places = (("west", 4), ("east", 3), ("north", 2))
    items = [{"sku": "D", "quantity": quantity, "warehouse": warehouse} for warehouse, quantity in places]
    assert inventory.post("/v1/stock", "spread", {"items": items}).status == 200
    return inventory


def places_of(service: Asked, sku: str) -> dict[str, tuple[int, int, int]]:
    """Warehouse → available, reserved, shipped."""
    parts = service.route("GET", "/v1/stock/{sku}", sku=sku).body["warehouses"]
    return {it["warehouse"]: (it["available"], it["reserved"], it["shipped"]) for it in parts}


def line(sku: str, quantity: int, warehouse: str | None = None) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, **({"warehouse": warehouse} if warehouse else {})}


def shipped(service: Asked, key: str, lines: dict[str, int]) -> str:
    """An order of these lines that has left the house; its id."""
    assert reserve(service, key, lines).status == 201
    assert service.post(COMMIT, f"{key}c", named(key)).status == 200
    return f"SO-{key}"


def restock(service: Asked, key: str, order_id: str, *lines: dict[str, Any]) -> Reply:
    return service.post(RESTOCK, key, {"order_id": order_id, "return_id": "RT-1", "lines": list(lines)})


def test_stock_lies_in_warehouses(spread: Asked) -> None:
    """What is provisioned without a warehouse lies in `main`; a SKU shows its sums and each warehouse by name."""
    put = partial(spread.route, "PUT", "/v1/stock/{sku}", sku="A")
    item = put("p2", {"quantity": 5, "warehouse": "west"}).body
    assert (item["initial"], item["available"], item["reserved"], item["shipped"]) == (15, 15, 0, 0)
    assert put("p2", {"quantity": 5, "warehouse": "east"}).code == "key_reused"
    assert places_of(spread, "A") == {"main": (10, 0, 0), "west": (5, 0, 0)}
    assert list(places_of(spread, "D")) == ["east", "north", "west"]
    assert put("p3", {"quantity": 5}).body["warehouses"][0]["initial"] == 15


def test_a_line_is_taken_from_warehouses_by_name_and_split(spread: Asked) -> None:
    """Six of D are the three of `east`, the two of `north`, one of `west`; the effect is one of six."""
    made = reserve(spread, "k1", {"D": 6, "A": 1})
    expected = [("A", 1, "main"), ("D", 3, "east"), ("D", 2, "north"), ("D", 1, "west")]
    assert [(it["sku"], it["quantity"], it["warehouse"]) for it in made.body["lines"]] == expected
    assert made.effects == [("stock", "A", 1), ("stock", "D", 6)]
    assert places_of(spread, "D") == {"east": (0, 3, 0), "north": (0, 2, 0), "west": (3, 1, 0)}
    spread.post(FIRM, "k2", named("k1"))
    spread.post(COMMIT, "k3", named("k1"))
    assert places_of(spread, "D") == {"east": (0, 0, 3), "north": (0, 0, 2), "west": (3, 0, 1)}
    rows = [row for row in spread.ledger() if row["key"] == "k3"]
    assert [(row["sku"], row["quantity"], row["warehouse"]) for row in rows] == expected


def test_a_split_hold_goes_back_where_it_came_from(spread: Asked) -> None:
    """By its undo, and by itself when it expires."""
    reserve(spread, "k1", {"D": 6})
    assert spread.undo(RESERVE, "u1", "k1").effects == [("stock", "D", -6)]
    before = places_of(spread, "D")
    reserve(spread, "k2", {"D": 6}, ttl_s=0)
    assert reserve(spread, "k3", {"D": 9}).status == 201
    assert before == {"east": (3, 0, 0), "north": (2, 0, 0), "west": (4, 0, 0)}
    assert places_of(spread, "D") == {"east": (0, 3, 0), "north": (0, 2, 0), "west": (0, 4, 0)}


def test_all_warehouses_together_may_be_too_little(spread: Asked) -> None:
    """Nine lie there, ten are `out_of_stock`: nothing was taken anywhere, of this line or of the others."""
    before = spread.ledger()
    refused = reserve(spread, "k1", {"A": 1, "D": 10})
    assert (refused.code, refused.body["detail"]) == ("out_of_stock", "not enough of D")
    assert places_of(spread, "D") == {"east": (3, 0, 0), "north": (2, 0, 0), "west": (4, 0, 0)}
    assert spread.ledger() == before


def test_nine_pieces_in_three_warehouses_are_sold_nine_times(spread: Asked) -> None:
    """60 orders of one or two pieces from 8 threads: never more than there is, and no order gets half."""
    orders = [partial(reserve, spread, f"k{number}", {"D": 1 + number % 2, "A": 1}) for number in range(60)]
    replies = at_once(orders)
    sold = [reply for reply in replies if reply.status == 201]
    taken = sum(it["quantity"] for reply in sold for it in reply.body["lines"] if it["sku"] == "D")
    assert (taken, {reply.code for reply in replies}) == (9, {"", "out_of_stock"})
    assert shelf(spread)["D"] == (0, 9, 0)
    assert shelf(spread)["A"] == (10 - len(sold), len(sold), 0)


def test_firm_takes_from_another_warehouse_what_is_gone_from_its_own(spread: Asked) -> None:
    """The hold on `east` expired and its pieces went to another order: firm reserves two of `north` and ships them."""
    reserve(spread, "k1", {"D": 2}, ttl_s=0)
    reserve(spread, "k2", {"D": 3})
    assert spread.post(FIRM, "k3", named("k1")).status == 200
    assert places_of(spread, "D") == {"east": (0, 3, 0), "north": (0, 2, 0), "west": (4, 0, 0)}
    assert spread.post(COMMIT, "k4", named("k1")).status == 200
    assert places_of(spread, "D") == {"east": (0, 3, 0), "north": (0, 0, 2), "west": (4, 0, 0)}


def test_firm_leaves_an_expired_hold_where_it_lies_while_nobody_wants_it(spread: Asked) -> None:
    """Past its instant and still on `east`: no piece moves, though `center` would be asked first by now."""
    reserve(spread, "k1", {"D": 2}, ttl_s=0)
    more = [{"sku": "D", "quantity": 5, "warehouse": "center"}]
    spread.post("/v1/stock", "p2", {"items": more})
    before, written = places_of(spread, "D"), spread.ledger()
    assert spread.post(FIRM, "k2", named("k1")).status == 200
    assert (places_of(spread, "D"), spread.ledger()) == (before, written)
    assert reserve(spread, "k3", {"D": 8}).status == 201
    assert places_of(spread, "D")["east"] == (0, 3, 0)
    assert spread.post(COMMIT, "k4", named("k1")).status == 200
    assert places_of(spread, "D")["east"] == (0, 1, 2)


def test_holds_that_expire_firm_and_fall_back_at_once_lose_no_piece(spread: Asked) -> None:
    """Reserve, firm, its undo, release and commit of holds that expire at once, from 8 threads: the books stay right."""

    def one(number: int) -> None:
        key = f"k{number}"
        reserve(spread, key, {"D": 1 + number % 3, "B": 1}, ttl_s=0)
        spread.post(FIRM, f"{key}f", named(key))
        spread.undo(FIRM, f"{key}g", f"{key}f")
        spread.post(FIRM, f"{key}h", named(key))
        if number % 3:
            spread.undo(RESERVE, f"{key}u", key)
        else:
            spread.post(COMMIT, f"{key}c", named(key))

    at_once([partial(one, number) for number in range(24)])
    books_are_right(spread)
    assert sum(places_of(spread, "D")["east"]) == 3


def test_where_a_hold_lies_is_read_when_its_skus_are_locked(empty_postgres_url: str) -> None:
    """While a commit waits for the rows of D, the hold moves to `north` as firm may move it: it ships from there."""
    database = Database(empty_postgres_url)
    service = Asked(SERVICE, database)
    items = [{"sku": "D", "quantity": 2, "warehouse": warehouse} for warehouse in ("east", "north")]
    service.post("/v1/stock", "p", {"items": items})
    reserve(service, "k1", {"D": 2})
    with (
        psycopg.connect(empty_postgres_url, autocommit=True) as watcher,
        psycopg.connect(empty_postgres_url) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        other.execute("SELECT 1 FROM stock WHERE sku = 'D' ORDER BY warehouse FOR UPDATE")
        committing = thread.submit(service.post, COMMIT, "k2", named("k1"))
        wait_until(lambda: watcher.execute(WAITING).fetchall())
        other.execute("UPDATE stock SET available = 2 - available, reserved = 2 - reserved WHERE sku = 'D'")
        other.execute("UPDATE reservation_line SET warehouse = 'north'")
        other.commit()
        assert committing.result(20).status == 200
    assert places_of(service, "D") == {"east": (2, 0, 0), "north": (0, 0, 2)}
    database.close()


def test_what_came_back_is_sold_again(spread: Asked) -> None:
    """A return of four of six goes back to the warehouses that they left from, by name; rows and effects say so."""
    order_id = shipped(spread, "k1", {"D": 6, "A": 2})
    back = restock(spread, "t1", order_id, line("D", 4), line("A", 1))
    assert back.status == 201
    expected = [("A", 1, "main"), ("D", 3, "east"), ("D", 1, "north")]
    assert [(it["sku"], it["quantity"], it["warehouse"]) for it in back.body["lines"]] == expected
    assert back.effects == [("stock", "A", 1), ("stock", "D", 4)]
    assert (back.body["restock_id"], back.body["order_id"], back.body["return_id"]) == ("T-t1", order_id, "RT-1")
    rows = [row for row in spread.ledger() if row["key"] == "t1"]
    assert {(row["bucket_from"], row["bucket_to"], row["order_id"], row["return_id"]) for row in rows} == {
        ("shipped", "available", order_id, "RT-1")
    }
    assert places_of(spread, "D") == {"east": (3, 0, 0), "north": (1, 0, 1), "west": (3, 0, 1)}


def test_a_named_warehouse_gets_what_left_from_it(spread: Asked) -> None:
    """One of `west` names it and is served before the line that names none; two of `west` never left from there."""
    order_id = shipped(spread, "k1", {"D": 6})
    assert restock(spread, "t1", order_id, line("D", 2, "west")).code == "not_shipped"
    assert restock(spread, "t2", order_id, line("D", 5), line("D", 1, "west")).status == 201
    assert places_of(spread, "D") == {"east": (3, 0, 0), "north": (2, 0, 0), "west": (4, 0, 0)}


@pytest.mark.parametrize(
    "lines",
    [[line("A", 4)], [line("B", 1)], [line("Z", 1)], [line("A", 2), line("A", 2)], [line("A", 1, "east")]],
    ids=["more", "other-sku", "unknown-sku", "lines-add-up", "other-warehouse"],
)
def test_no_more_comes_back_than_was_shipped(spread: Asked, lines: list[dict[str, Any]]) -> None:
    """`not_shipped` names the SKU, and the other line of the request is not restocked either; the "no" is remembered."""
    order_id = shipped(spread, "k1", {"A": 3, "D": 1})
    before = spread.ledger()
    for _ in range(2):
        refused = restock(spread, "t1", order_id, line("D", 1), *lines)
        assert (refused.status, refused.code) == (409, "not_shipped")
        assert lines[0]["sku"] in refused.body["detail"]
    assert spread.ledger() == before


def test_only_what_has_left_the_house_comes_back(spread: Asked) -> None:
    """Pieces that are reserved, of another order or of none are `not_shipped`."""
    shipped(spread, "k1", {"A": 3})
    reserve(spread, "k2", {"A": 3})
    for key, order_id in (("t1", "SO-k2"), ("t2", "SO-none")):
        assert restock(spread, key, order_id, line("A", 1)).code == "not_shipped"


def test_an_order_of_two_reservations_gets_back_what_both_shipped(spread: Asked) -> None:
    """The account is the order's: four of two and two come back, a fifth does not."""
    for key in ("k1", "k2"):
        spread.post(RESERVE, key, {"order_id": "SO-1", "lines": [line("A", 2)]})
        spread.post(COMMIT, f"{key}c", named(key))
    assert restock(spread, "t1", "SO-1", line("A", 5)).code == "not_shipped"
    assert restock(spread, "t2", "SO-1", line("A", 4)).status == 201
    assert shelf(spread)["A"] == (10, 0, 0)


def test_restocks_at_once_never_exceed_what_was_shipped(spread: Asked) -> None:
    """40 returns of one or two of the nine shipped, from 8 threads: nine come back, and not one more."""
    order_id = shipped(spread, "k1", {"D": 9, "A": 9})
    sizes = [1 + number % 2 for number in range(40)]
    calls = [
        partial(restock, spread, f"t{number}", order_id, *([line("A", n), line("D", n)][:: 1 - 2 * (number % 3 % 2)]))
        for number, n in enumerate(sizes)
    ]
    replies = at_once(calls)
    back = sum(n for n, reply in zip(sizes, replies, strict=True) if reply.status == 201)
    assert (back, {reply.code for reply in replies}) == (9, {"", "not_shipped"})
    assert (shelf(spread)["D"], shelf(spread)["A"]) == ((9, 0, 0), (10, 0, 0))


def test_what_is_left_is_read_when_its_skus_are_locked(empty_postgres_url: str) -> None:
    """Two return a piece each of an order that left from two warehouses: the second waits for the first, whose piece went to
    `east`, and goes to `north`. A rejection would be kept, and would halt its return behind the refund."""
    database = Database(empty_postgres_url)
    service = Asked(SERVICE, database)
    service.post("/v1/stock", "p", {"items": [line("D", 1, "east"), line("D", 1, "north")]})
    order_id = shipped(service, "k1", {"D": 2})
    with (
        psycopg.connect(empty_postgres_url, autocommit=True) as watcher,
        psycopg.connect(empty_postgres_url) as first,
        ThreadPoolExecutor(1) as thread,
    ):
        first.execute("SELECT 1 FROM stock WHERE sku = 'D' ORDER BY warehouse FOR UPDATE")
        first.execute("UPDATE reservation_line SET restocked = 1 WHERE warehouse = 'east'")
        second = thread.submit(restock, service, "t2", order_id, line("D", 1))
        wait_until(lambda: watcher.execute(WAITING).fetchall())
        first.commit()
        reply = second.result(20)
    assert (reply.status, [it["warehouse"] for it in reply.body["lines"]]) == (201, ["north"])
    database.close()


def test_the_undo_of_a_restock_ships_it_again(spread: Asked) -> None:
    """Once; afterwards the pieces may come back another time."""
    order_id = shipped(spread, "k1", {"D": 6})
    restock(spread, "t1", order_id, line("D", 6))
    assert spread.undo(RESTOCK, "u1", "t1").effects == [("stock", "D", -6)]
    assert spread.undo(RESTOCK, "u2", "t1").body == {"undone": True, "effects": []}
    assert places_of(spread, "D") == {"east": (0, 0, 3), "north": (0, 0, 2), "west": (3, 0, 1)}
    assert restock(spread, "t2", order_id, line("D", 7)).code == "not_shipped"
    assert restock(spread, "t3", order_id, line("D", 6)).status == 201


def test_what_was_sold_again_is_not_shipped_by_an_undo(spread: Asked) -> None:
    """`sold_again`, nothing is moved; when the pieces are free, or held by a hold that expired, the undo works."""
    order_id = shipped(spread, "k1", {"D": 9})
    restock(spread, "t1", order_id, line("D", 9))
    reserve(spread, "k2", {"D": 1})
    before = spread.ledger()
    refused = spread.undo(RESTOCK, "u1", "t1")
    assert (refused.status, refused.code, spread.ledger()) == (409, "sold_again", before)
    spread.undo(RESERVE, "u2", "k2")
    reserve(spread, "k3", {"D": 1}, ttl_s=0)
    assert spread.undo(RESTOCK, "u1", "t1").effects == [("stock", "D", -9)]
    assert shelf(spread)["D"] == (0, 0, 9)


def test_stock_is_listed_in_pages(spread: Asked) -> None:
    """Two SKUs at a time with all their warehouses, each once, and the last page says so; without a limit it is all."""
    seen: list[dict[str, Any]] = []
    sizes: list[int] = []
    after: str | None = ""
    while after is not None:
        page = spread.route("GET", "/v1/stock", after=after, limit=2).body
        seen, after = [*seen, *page["items"]], page["next_after"]
        sizes.append(len(page["items"]))
    whole = spread.route("GET", "/v1/stock").body
    assert (sizes, seen, whole["next_after"]) == ([2, 2], whole["items"], None)
    assert [item["sku"] for item in spread.route("GET", "/v1/stock", after="B").body["items"]] == ["C", "D"]
    assert spread.route("GET", "/v1/stock", after="D", limit=1).body == {"items": [], "next_after": None}


def test_the_query_of_the_stock_list_is_read_over_http(sqlite_url: str) -> None:
    """`after` and `limit` reach the list, and a limit of 0 is refused with its name."""
    service = serve(SERVICE, sqlite_url)
    try:
        items = [{"sku": sku, "quantity": 1} for sku in "ABC"]
        stock = f"{service.url}/v1/stock"
        assert requests.post(stock, json={"items": items}, headers={"Idempotency-Key": "p"}, timeout=20).ok
        page = requests.get(stock, params={"after": "A", "limit": "1"}, timeout=20).json()
        assert ([item["sku"] for item in page["items"]], page["next_after"]) == (["B"], "B")
        refused = requests.get(stock, params={"limit": 0}, timeout=20)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "limit")
    finally:
        service.stop()
