"""An order id may be in several tenants: a command that changes something means the one of its own."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, retriable
from saga.errors import SagaNotFound, UsageError
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.store.port import Store
from saga.surfaces.lookup import look_up


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    done: bool


def work(order: Order) -> Done:
    return Done(done=bool(order.order_id))


WORK = Saga(
    "work", version=1, input=Order, entity=lambda order: order.order_id, steps=[retriable(work, keys="serialise")]
)
HERE = ("test", "shop-a")
ELSEWHERE = (("test", "shop-b"), ("staging", "shop-a"))


@pytest.fixture
def store() -> Iterator[Store]:
    """SO-1 is in three places, SO-12 is only here, SO-3 and SO-34 are only elsewhere."""
    made = MemoryStore()
    for environment, tenant in (HERE, *ELSEWHERE):
        starter = Starter(made, environment=environment, tenant=tenant)
        for order_id in ("SO-1", "SO-12") if (environment, tenant) == HERE else ("SO-1", "SO-3", "SO-34"):
            starter.start(WORK, Order(order_id=order_id))
        starter.stop()
    yield made
    made.close()


def found(store: Store, reference: str) -> tuple[str, str, str]:
    row = look_up(store, reference, HERE)
    return row.entity, row.environment, row.tenant


def test_of_several_places_the_own_one_is_meant(store: Store) -> None:
    """By its order id, though sagas of others began later, by a prefix that fits others too, and by its saga id."""
    assert found(store, "SO-1") == ("SO-1", *HERE)
    assert found(store, "SO-12") == found(store, look_up(store, "SO-12").saga_id) == ("SO-12", *HERE)
    assert look_up(store, "SO-1", ELSEWHERE[0]).tenant == "shop-b"
    with pytest.raises(UsageError, match="fits several: SO-1, SO-12; "):
        look_up(store, "SO-", HERE)


def test_what_is_only_elsewhere_is_told_with_its_owner(store: Store) -> None:
    """A whole order id or saga id of another place is refused with the settings that name it; a prefix of one is nothing here.
    For reading both are found."""
    for reference in ("SO-3", look_up(store, "SO-3").saga_id):
        with pytest.raises(UsageError, match=r"is of environment \w+, tenant shop-[ab]; set SAGA_ENVIRONMENT"):
            look_up(store, reference, HERE)
    prefix = look_up(store, "SO-34").saga_id[:-1]
    assert look_up(store, prefix).entity == "SO-34"
    with pytest.raises(SagaNotFound):
        look_up(store, prefix, HERE)
