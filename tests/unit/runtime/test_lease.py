"""A lease says whose sagas its worker runs, and giving it back does not wait for a store that does not answer."""

import logging
import threading

import pytest

from saga.clock import monotonic
from saga.runtime.lease import CLOSE_S, Lease
from saga.scope import Scope
from saga.store.memory import MemoryStore


class Silent(MemoryStore):
    """A store that answers a goodbye only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()

    def close_worker(self, worker_id: str) -> int:
        self.answers.wait()
        return super().close_worker(worker_id)


def test_a_lease_says_whose_sagas_its_worker_runs() -> None:
    """Those of the store that the worker sweeps; also under the id that it takes when it was declared dead."""
    store = MemoryStore(scope=Scope("production", ("acme",)))
    renamed = threading.Event()
    lease = Lease(store, frozenset({"q"}), lambda _id: renamed.set())
    lease.open()
    first = lease.worker_id
    store.close_worker(first)
    assert renamed.wait(10)
    [(row, _)] = store.workers()
    lease.close()
    assert (row.worker_id != first, row.scope) == (True, store.scope)


@pytest.mark.timeout(20)
def test_a_lease_that_cannot_be_given_back_is_left_to_run_out(caplog: pytest.LogCaptureFixture) -> None:
    """Within three seconds, and the log says so: SIGTERM ends a process whatever the database does."""
    store = Silent()
    lease = Lease(store, frozenset({"q"}))
    lease.open()
    began_at = monotonic()
    with caplog.at_level(logging.WARNING, "saga"):
        lease.close()
    assert monotonic() - began_at < CLOSE_S + 5
    assert "lease_not_given_back" in caplog.text
    store.answers.set()
