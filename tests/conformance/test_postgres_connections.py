"""PostgreSQL only: no connection outlives the pool that it belongs to."""

import threading
from collections.abc import Callable

import pytest

from saga.store.postgres_connections import PostgresConnections, Session


@pytest.mark.parametrize("end", [PostgresConnections.close, PostgresConnections.give_up])
def test_what_is_borrowed_while_the_pool_ends_is_closed_when_it_comes_back(
    store_postgres_url: str, end: Callable[[PostgresConnections], None]
) -> None:
    """A thread waits for an answer meanwhile, as one does whose database is silent; it may also borrow once more."""
    connections, seen = PostgresConnections(store_postgres_url, 2), list[Session]()
    is_inside, may_go = threading.Event(), threading.Event()

    def wait(session: Session) -> None:
        seen.append(session)
        is_inside.set()
        may_go.wait(20)

    thread = threading.Thread(target=connections.run, args=(wait, "waiting"))
    thread.start()
    assert is_inside.wait(20)
    end(connections)
    may_go.set()
    thread.join(20)
    assert seen[0].closed
    connections.close()
    connections.run(seen.append, "once more")
    assert seen[1].closed
