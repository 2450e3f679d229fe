"""An order id may be in several tenants: a command that changes something means the one of its own."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, retriable
from saga.errors import SagaNotFound, UsageError
from saga.runtime.starting import Starter
from saga.scope import Scope
from saga.store.memory import MemoryStore
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
HERE, ELSEWHERE = ("test", "shop-a"), (("test", "shop-b"), ("staging", "shop-a"))


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """SO-1 is in three places, SO-12 is only here, SO-3 and SO-34 are only elsewhere."""
    made = MemoryStore()
    for environment, tenant in (HERE, *ELSEWHERE):
        starter = Starter(made, environment=environment, tenant=tenant)
        for order_id in ("SO-1", "SO-12") if (environment, tenant) == HERE else ("SO-1", "SO-3", "SO-34"):
            starter.start(WORK, Order(order_id=order_id))
        starter.stop()
    yield made
    made.close()


def of(store: MemoryStore, environment: str, *tenants: str) -> MemoryStore:
    return store.of(Scope(environment, tenants or None))


def found(store: MemoryStore, reference: str) -> tuple[str, str, str]:
    row = look_up(of(store, *HERE), reference)
    return row.entity, row.environment, row.tenant


def test_of_several_places_the_own_one_is_meant(store: MemoryStore) -> None:
    """By its order id, though sagas of others began later, by a prefix that fits others too, and by its saga id."""
    assert found(store, "SO-1") == ("SO-1", *HERE)
    assert found(store, "SO-12") == found(store, look_up(store, "SO-12").saga_id) == ("SO-12", *HERE)
    assert look_up(of(store, *ELSEWHERE[0]), "SO-1").tenant == "shop-b"
    with pytest.raises(UsageError, match="fits several: SO-1, SO-12; "):
        look_up(of(store, *HERE), "SO-")


def test_a_slip_cancels_nobodys_order(store: MemoryStore) -> None:
    """What is changed is named by its order id, or by eight characters of its saga id."""
    mine = look_up(of(store, *HERE), "SO-12")
    for slip in (mine.saga_id[0], mine.saga_id[:7], "SO-"):
        with pytest.raises(SagaNotFound):
            look_up(of(store, *HERE), slip, is_changed=True)
    assert look_up(of(store, *HERE), "SO-12", is_changed=True) == mine
    assert look_up(of(store, *HERE), mine.saga_id[:-1], is_changed=True) == mine


def test_what_is_only_elsewhere_is_not_there(store: MemoryStore) -> None:
    """Nothing says that another tenant or environment has it: not its order id, not its saga id, not a prefix of one."""
    theirs = look_up(of(store, *ELSEWHERE[0]), "SO-34").saga_id
    for reference in ("SO-3", "SO-34", theirs, theirs[:-1]):
        with pytest.raises(SagaNotFound, match="no saga with id"):
            look_up(of(store, *HERE), reference)


def test_an_order_of_several_tenants_is_none_in_particular(store: MemoryStore) -> None:
    """Whoever looks at every tenant is told whose there are; one that a single tenant has is found."""
    everybody = of(store, "test")
    theirs = {name: look_up(of(store, "test", name), "SO-1").saga_id for name in ("shop-a", "shop-b")}
    some = rf"shop-a \(saga {theirs['shop-a']}\), shop-b \(saga {theirs['shop-b']}\)"
    with pytest.raises(UsageError, match=f"'SO-1' is of several tenants: {some}; type the saga id"):
        look_up(everybody, "SO-1")
    assert {name: look_up(everybody, saga_id).tenant for name, saga_id in theirs.items()} == {it: it for it in theirs}
    assert (look_up(everybody, "SO-12").tenant, look_up(everybody, "SO-34").tenant) == ("shop-a", "shop-b")
