"""What is refunded is known, and shown, from the moment a return is accepted."""

from collections.abc import Iterator

import pytest

from saga.fulfilment.return_order import return_order
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.surfaces.cli.returning import _read, _text
from saga.surfaces.taking_back import ReturnRequest, WantedLine, take_back
from tests.integration.api.serving import Shop, opened

SKU = "85123A"


@pytest.fixture
def shop() -> Iterator[Shop]:
    """An API with an order of six pieces that completed."""
    with opened(MemoryStore()) as made:
        made.move(made.accepted())
        yield made


def test_a_return_that_nobody_runs_yet_says_its_refund(shop: Shop) -> None:
    """Two of six pieces at £2.55 with a third of 20 pence of tax: the answer, the order and `saga return` say £5.17 at once."""
    starter = Starter(shop.store, environment="test", tenant="shop")
    wanted = ReturnRequest(lines=(WantedLine(sku=SKU, quantity=2),), reason="broken handle")
    taken = take_back(shop.store, starter, return_order, "SO-1", wanted, key="r-1")
    starter.stop()
    text = _text(_read(shop.store, taken), taken)
    assert text == f"R1.SO-1   running   2 of {SKU}   refund £5.17"
    assert shop.client.get("/v1/orders/SO-1").json()["returns"][0]["refund"] == 517
    other = shop.give_back({SKU: 1}, key="r-2").json()
    assert (other["goods"], other["refund"]) == (255, 258)
