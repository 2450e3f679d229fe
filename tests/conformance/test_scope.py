"""A store that was opened for some answers as if there were no other sagas: reads, sweeps, rows, requests and workers, on all three."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from saga.core.states import HaltReason, SagaStatus
from saga.fulfilment.orders_table import ORDERS
from saga.scope import EVERYBODY, Scope
from saga.store.port import Append, EffectRow, RowFilter, SagaColumns, SagaFilter, Store, WorkerRow
from tests.conformance.building import accepted, due_ago, entry_of, new_id, new_saga
from tests.conformance.conftest import OpenFor
from tests.conformance.test_rows import row
from tests.waiting import wait_until

SHOP = Scope("test", ("shop",))
ORDER, KEY = "SO-1", "key-1"
EFFECT = EffectRow("charge:a", "money", "GBP", 100, 1)


def stored(store: Store, environment: str, tenant: str) -> str:
    """One halted saga that is due, with an effect, a request and a row of `orders`; the same order id for each owner."""
    owner: dict[str, Any] = {"environment": environment, "tenant": tenant}
    new = accepted(
        store,
        **owner,
        entity=ORDER,
        request_key=KEY,
        request_hash="h",
        row=lambda run: row(store, ORDER, saga_id=f"{environment} {tenant}", run=run, **owner),
    )
    columns = SagaColumns(SagaStatus.HALTED, HaltReason.PARTICIPANT_DOWN, due_ago(store, 60))
    store.append([Append(new.saga_id, entry_of(store, new.saga_id, 2), columns, (EFFECT,))])
    return new.saga_id


READS: Mapping[str, Callable[[Store, str], object]] = {
    "row": lambda store, saga_id: store.row(saga_id),
    "load": lambda store, saga_id: store.load([saga_id]),
    "tail": lambda store, saga_id: store.tail(saga_id, 1),
    "effects": lambda store, saga_id: store.effects(saga_id),
    "effects of": lambda store, saga_id: store.effects_of([saga_id]),
    "find by id": lambda store, saga_id: store.find(SagaFilter(id_prefix=saga_id), 9),
}
"""Reads that name the saga: nothing is falsy."""
OVERVIEWS: Mapping[str, Callable[[Store], Any]] = {
    "find": lambda store: len(store.find(SagaFilter(), 9)),
    "find the order": lambda store: len(store.find(SagaFilter(entity=ORDER), 9)),
    "find the orders": lambda store: len(store.find(SagaFilter("fulfil_order", entities=(ORDER,)), 9)),
    "find the beginning": lambda store: len(store.find(SagaFilter(id_prefix=ORDER[:2]), 9)),
    "find the halted": lambda store: len(store.find(SagaFilter(statuses=(SagaStatus.HALTED,)), 9)),
    "counts": lambda store: store.counts()[SagaStatus.HALTED],
    "counts of a span": lambda store: store.counts(store.now() - timedelta(hours=1))[SagaStatus.HALTED],
    "live counts": lambda store: sum(it.count for it in store.live_counts()),
    "live rows": lambda store: len(store.live_rows(9)),
    "halted counts": lambda store: sum(it.count for it in store.halted_counts()),
    "halted rows": lambda store: len(store.halted_rows(HaltReason.PARTICIPANT_DOWN, 9)),
    "due counts": lambda store: store.due_counts()[0],
    "rows": lambda store: len(store.rows(ORDERS, RowFilter(ORDERS.key), 9)),
    "rows of the order": lambda store: len(store.rows(ORDERS, RowFilter(ORDERS.key, {"order_id": ORDER}), 9)),
    "sweep": lambda store: len(store.sweep_due(9, 60.0)),
}
"""Reads that look at all: how many sagas they tell of."""
OWNERS = (("test", "shop"), ("test", "other"), ("staging", "shop"))


@pytest.mark.parametrize("read", READS)
def test_a_saga_of_somebody_else_is_not_there(store: Store, open_for: OpenFor, read: str) -> None:
    """By its id: the own one is, that of another tenant and that of another environment are not."""
    ids = [stored(store, *owner) for owner in OWNERS]
    own = open_for(SHOP)
    assert [bool(READS[read](own, saga_id)) for saga_id in ids] == [True, False, False]
    assert all(READS[read](store, saga_id) for saga_id in ids)


@pytest.mark.parametrize("read", OVERVIEWS)
def test_sagas_of_somebody_else_are_not_counted(store: Store, open_for: OpenFor, read: str) -> None:
    """Whoever works for one tenant sees one, for two of three or for all of an environment two, for everybody three."""
    for owner in OWNERS:
        stored(store, *owner)
    scopes = (SHOP, Scope("staging"), Scope("test", ("shop", "other", "third")), Scope("test"), EVERYBODY)
    if read != "sweep":
        assert [OVERVIEWS[read](open_for(scope)) for scope in scopes] == [1, 1, 2, 2, 3]
        return
    # What one sweeper has taken is no more due.
    assert [OVERVIEWS[read](open_for(scope)) for scope in scopes] == [1, 1, 1, 0, 0]


def test_a_filter_cannot_ask_beyond_the_scope(store: Store, open_for: OpenFor) -> None:
    """Neither by naming another tenant nor by naming another environment, of sagas and of rows."""
    for owner in OWNERS:
        stored(store, *owner)
    own = open_for(SHOP)
    for environment, tenant in OWNERS[1:]:
        asked = SagaFilter(environment=environment, tenant=tenant)
        for wanted in (asked, replace(asked, entity=ORDER), replace(asked, definition="fulfil_order", entity=ORDER)):
            assert own.find(wanted, 9) == []
        assert own.rows(ORDERS, RowFilter(ORDERS.key, {"environment": environment, "tenant": tenant}), 9) == []
        assert own.request(environment, tenant, KEY) is None
    assert own.request("test", "shop", KEY) is not None


def test_a_sweep_leaves_what_is_not_its_own_as_it_is(store: Store, open_for: OpenFor) -> None:
    """It is as due as before, and was pushed by nobody; with nothing of its own a sweep takes nothing."""
    theirs = stored(store, "staging", "shop")
    before = store.row(theirs)
    assert open_for(SHOP).sweep_due(9, 60.0) == []
    assert store.row(theirs) == before
    [due] = open_for(Scope("staging")).sweep_due(9, 60.0)
    assert (due.saga_id, due.pushes) == (theirs, 0)


WORKS_FOR: Mapping[str, Scope] = {
    "w-shop": SHOP,
    "w-other": Scope("test", ("other",)),
    "w-both": Scope("test", ("other", "shop")),
    "w-tenants": Scope("test"),
    "w-staging": Scope("staging", ("shop",)),
    "w-older": EVERYBODY,
}


def test_a_worker_of_others_is_not_among_mine(store: Store, open_for: OpenFor) -> None:
    """Listed are those that may run a saga of whoever asks, each with whose it runs. Whoever asks for several tenants sees the
    workers of each; one whose row says nothing is everybody's."""
    for worker_id, scope in WORKS_FOR.items():
        store.register_worker(WorkerRow(worker_id, "host", 1, ("q",), scope=scope))

    def listed(scope: Scope) -> dict[str, Scope]:
        return {row.worker_id: row.scope for row, _ in open_for(scope).workers()}

    everybodys = {"w-tenants", "w-older"}
    assert {name: WORKS_FOR[name] for name in {"w-shop", "w-both", *everybodys}} == listed(SHOP)
    assert set(listed(Scope("test", ("third",)))) == everybodys
    assert set(listed(Scope("test", ("third", "other")))) == {"w-other", "w-both", *everybodys}
    assert set(listed(Scope("test"))) == {"w-shop", "w-other", "w-both", *everybodys}
    assert set(listed(Scope("staging"))) == {"w-staging", "w-older"}
    assert listed(EVERYBODY) == dict(WORKS_FOR)


def test_a_dead_worker_of_others_is_found_dead(store: Store, open_for: OpenFor) -> None:
    """By whoever looks: its sagas must not wait for a worker of their own tenant."""
    store.register_worker(WorkerRow("w-other", "host", 1, ("q",), 0.05, Scope("test", ("other",))))
    own = open_for(SHOP)
    own.register_worker(WorkerRow("w-shop", "host", 1, ("q",), scope=SHOP))
    wait_until(lambda: own.dead_workers() == ["w-other"])


def test_a_dead_worker_is_closed_for_everybody(store: Store, open_for: OpenFor) -> None:
    """Whoever finds it dead makes the sagas due that it had, whosever they are: closing is told once."""
    new = new_saga(store, entity=new_id(), environment="test", tenant="other")
    store.accept([new])
    store.register_worker(WorkerRow("w-of-both", "host", 1, ("q",)))
    store.append([Append(new.saga_id, entry_of(store, new.saga_id, 2, writer="w-of-both"))])
    assert open_for(SHOP).close_worker("w-of-both") == 1
    found = store.row(new.saga_id)
    assert found is not None
    assert found.due_at is not None
    assert found.due_at <= store.now()
