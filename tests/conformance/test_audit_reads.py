"""What the audit reads around the journal: effects of many sagas, and rows that name a saga that is not there."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from saga.core.states import SagaStatus
from saga.store.opening import open_store
from saga.store.port import Append, EffectRow, RequestRow, Store
from tests.conformance.building import accepted, entry_of, moved

Execute = Callable[[str], None]
Damaged = tuple[Store, Execute]
GHOSTS = [f"ghost-{number}" for number in range(5)]


def effect(number: int) -> EffectRow:
    return EffectRow("pay:a", "money", "EUR", number, 1)


def test_effects_of_many_sagas(store: Store) -> None:
    """Each saga's effects in the order in which they were journalled; who has none, or is not there, is missing."""
    one, other, none = (accepted(store).saga_id for _ in range(3))
    store.append([Append(one, entry_of(store, one, 2), None, (effect(1), effect(2)))])
    store.append([moved(store, other, 2, SagaStatus.COMPLETED, [effect(9)])])
    store.append([Append(one, entry_of(store, one, 3), None, (effect(3),))])
    found = store.effects_of([other, none, one, "nobody"])
    assert found == {one: [effect(1), effect(2), effect(3)], other: [effect(9)]}
    assert {saga_id: store.effects(saga_id) for saga_id in (one, other)} == found
    assert store.effects_of([]) == {}


def test_nothing_is_lost_by_itself(store: Store) -> None:
    """Whatever the store writes goes in beside the saga row or after it."""
    new = accepted(store, request_key="mine", request_hash="h")
    store.append([moved(store, new.saga_id, 2, SagaStatus.COMPENSATED, [effect(1)])])
    assert store.lost_sagas("", 10) == []
    assert store.lost_requests(None, 10) == []


@pytest.fixture(params=["postgres", "sqlite"])
def damaged(request: pytest.FixtureRequest) -> Iterator[Damaged]:
    """A store, and a hand that changes its tables behind its back; of the store in memory nobody could."""
    url = request.getfixturevalue(f"store_{request.param}_url")
    store = open_store(url)

    def execute(statement: str) -> None:
        if request.param == "postgres":
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(statement.replace("FROM ", "FROM saga.").replace("INTO ", "INTO saga.").encode())
        else:
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as session, session:
                session.execute(statement)

    yield store, execute
    store.close()


def test_a_saga_whose_row_is_gone(damaged: Damaged) -> None:
    """Ids that only the journal or only the effects name come once each, ascending, page by page; whole sagas never."""
    store, execute = damaged
    kept = accepted(store).saga_id
    store.append([moved(store, kept, 2, SagaStatus.COMPLETED, [effect(1)])])
    for ghost in GHOSTS[:3]:
        accepted(store, saga_id=ghost)
        store.append([moved(store, ghost, 2, SagaStatus.COMPLETED, [effect(1), effect(2)])])
        execute(f"DELETE FROM saga WHERE saga_id = '{ghost}'")
    execute(f"DELETE FROM effect WHERE saga_id = '{GHOSTS[0]}'")
    execute(f"DELETE FROM journal WHERE saga_id = '{GHOSTS[1]}'")
    assert store.lost_sagas("", 10) == GHOSTS[:3]
    assert store.lost_sagas("", 2) == GHOSTS[:2]
    assert store.lost_sagas(GHOSTS[1], 2) == GHOSTS[2:3]
    assert store.lost_sagas(GHOSTS[2], 2) == []


def test_a_request_whose_saga_is_gone(damaged: Damaged) -> None:
    """Request rows of sagas without a row come ascending by environment, tenant and key, page by page."""
    store, execute = damaged
    accepted(store, request_key="kept", request_hash="h")
    owners = [("test", "shop", "b"), ("test", "shop", "a"), ("live", "shop", "c"), ("test", "cafe", "z")]
    rows = [RequestRow(*owner, ghost) for owner, ghost in zip(owners, GHOSTS, strict=False)]
    for row in rows:
        owner = {"environment": row.environment, "tenant": row.tenant}
        accepted(store, saga_id=row.saga_id, request_key=row.request_key, request_hash="h", **owner)
        execute(f"DELETE FROM saga WHERE saga_id = '{row.saga_id}'")
    ascending = [rows[2], rows[3], rows[1], rows[0]]
    assert store.lost_requests(None, 10) == ascending
    assert store.lost_requests(None, 3) == ascending[:3]
    assert store.lost_requests(ascending[2], 3) == ascending[3:]
    assert store.lost_requests(ascending[3], 3) == []
