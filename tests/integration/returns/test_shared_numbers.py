"""A number of an order may be another order's return: what has come back is counted for the order that it was bought with."""

from collections.abc import Iterator

import pytest

from saga.fulfilment.return_order import return_order
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.surfaces.taking_back import return_id_of, returns_of
from tests.integration.api.serving import Shop, opened

SKU = "85123A"
LONG = "L" * 64
DIGEST = return_id_of(LONG, 1).partition(".")[2]


@pytest.fixture
def shop() -> Iterator[Shop]:
    """An API with two orders of six pieces that completed; the id of one is the digest of the other's."""
    with opened(MemoryStore()) as made:
        for order_id in (LONG, DIGEST):
            made.move(made.accepted(order_id=order_id))
        yield made


def shown(shop: Shop, order_id: str) -> list[tuple[str, int]]:
    """The returns that an order lists, with their pieces."""
    listed = shop.client.get(f"/v1/orders/{order_id}").json()["returns"]
    return [(one["return_id"], one["lines"][0]["quantity"]) for one in listed]


def test_an_order_whose_id_is_the_digest_of_another_s_has_its_own_returns(shop: Shop) -> None:
    """Both orders share their numbers. Everything of the first comes back, and still everything of the second does; neither
    lists the other's return, and of each nothing is left."""
    for number, order_id in enumerate((LONG, DIGEST), 1):
        answer = shop.give_back(order_id=order_id, key=f"r-{order_id}")
        assert (answer.status_code, answer.json()["return_id"]) == (202, f"R{number}.{DIGEST}"), answer.text
    assert (shown(shop, LONG), shown(shop, DIGEST)) == ([(f"R1.{DIGEST}", 6)], [(f"R2.{DIGEST}", 6)])
    for order_id in (LONG, DIGEST):
        assert shop.give_back(order_id=order_id, key=f"again-{order_id}").json()["code"] == "exceeds_sold"


def test_a_return_under_a_number_of_another_order_is_not_counted_for_it(shop: Shop) -> None:
    """Somebody starts a return of one order by hand, under an id that is a number of the other."""
    assert shop.give_back({SKU: 1}, order_id=LONG).status_code == 202
    [first] = returns_of(shop.store, "test", "shop", LONG)
    starter = Starter(shop.store, environment="test", tenant="shop")
    shop.move(shop.accepted(order_id="SO-9"))
    starter.start(return_order, first.wanted.model_copy(update={"return_id": "R1.SO-9"}))
    starter.stop()
    answer = shop.give_back(order_id="SO-9", key="r-9")
    assert (answer.json()["return_id"], answer.json()["lines"]) == ("R2.SO-9", [{"sku": SKU, "quantity": 6}])
