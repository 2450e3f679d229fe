"""A process that does not know its lease any more sends nothing, not even what it had claimed before: others may have closed it
and do the same work."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from pydantic import BaseModel

from saga.core.connector import Call, Connector
from saga.core.definition import Saga, readonly
from saga.core.outcomes import OutcomeCode
from saga.core.states import SagaStatus
from saga.core.transitions import AttemptEnded, AttemptStarted
from saga.errors import StoreUnavailable
from saga.runtime.driver import LEASE_LOST
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.runtime.work import Limits
from saga.runtime.worker import Worker
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from saga.store.port import Append, AppendResult
from tests.integration.runtime.test_http import OK, peer, request_of
from tests.simulation.stepping import state_of
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool = True


class Answering(MemoryStore):
    """Tells of no lease while it is `is_deaf`; a claim is durable at once, and told when the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.is_deaf = False
        self.gate, self.has_claim = threading.Event(), threading.Event()

    def renew_lease(self, worker_id: str) -> bool:
        self._hear()
        return super().renew_lease(worker_id)

    def dead_workers(self) -> list[str]:
        self._hear()
        return super().dead_workers()

    def _hear(self) -> None:
        if self.is_deaf:
            raise StoreUnavailable("no answer; the call may be repeated")

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        results = super().append(group)
        if any(isinstance(it, AttemptStarted) for item in group for it in decode(item.entry.body)):
            self.has_claim.set()
            assert self.gate.wait(30)
        return results


class Bench:
    """One order whose step asks a participant, which counts what reaches it."""

    def __init__(self, driver: str, participant: str) -> None:
        bank = Connector("bank", keys="serialise")
        look = bank.query("/v1/look", Order, Done)

        def ask(order: Order) -> Call[Done]:
            return look(order)

        self.store = Answering()
        self.saga = Saga("asks", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(ask)])
        self.definitions = Definitions([self.saga])
        executor = Executor(lambda _name: participant, self.store.clock)
        new = new_saga(self.saga, Order(order_id="SO-1"), self.store, environment="test", tenant="test")
        self.saga_id = answer(new, self.store.accept([new])[0]).saga_id
        self.worker: Worker | TaskWorker
        if driver == "process":
            limits = Limits(slots=2, threads=2)
            self.worker = Worker(self.store, self.definitions, executor, limits=limits)
            self.wake: Callable[[], object] = lambda: None  # its rescuer finds the order
        else:
            queues = frozenset({"saga"})
            task = self.worker = TaskWorker(
                self.store, self.definitions, executor, queues=queues, publish=lambda _hints: None
            )
            self.wake = lambda: task.run(self.saga_id, "asks", "ask:a")
        self.worker.start()
        self.body = threading.Thread(target=self.wake, daemon=True)
        self.body.start()

    def ended(self) -> list[tuple[OutcomeCode, str]]:
        journal = self.store.load([self.saga_id])[self.saga_id]
        return [(it.code, it.detail) for entry in journal for it in decode(entry.body) if isinstance(it, AttemptEnded)]

    def has_ended(self) -> bool:
        return state_of(self.store, self.definitions, self.saga_id).status is SagaStatus.COMPLETED

    def close(self) -> None:
        self.store.gate.set()
        self.body.join(20)
        self.worker.stop(5)


@pytest.fixture
def requests() -> list[bytes]:
    """What reached the participant."""
    return []


@pytest.fixture(params=["process", "task"])
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, requests: list[bytes]) -> Iterator[Bench]:
    monkeypatch.setenv("SAGA_LEASE_S", "1")

    def behave(connection: socket.socket) -> None:
        requests.append(request_of(connection))
        connection.sendall(OK)

    with peer(behave) as url:
        made = Bench(request.param, url)
        yield made
        made.close()


@pytest.mark.timeout(60)
def test_what_was_claimed_is_not_sent_once_the_lease_is_not_known(
    bench: Bench, requests: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The claim is durable, and until this process hears so a lease has passed without a renewal. The call is not made and the
    journal says why; when the database answers again, the order ends by one request."""
    with caplog.at_level(logging.ERROR, "saga"):
        assert bench.store.has_claim.wait(20)
        bench.store.is_deaf = True
        wait_until(lambda: "lease_unknown" in caplog.text, 20)
    bench.store.gate.set()
    wait_until(bench.ended, 20, what="the attempt to end")
    assert bench.ended() == [(LEASE_LOST.code, LEASE_LOST.detail)]
    assert LEASE_LOST.code is OutcomeCode.NOT_SENT
    assert requests == []
    bench.store.is_deaf = False
    wait_until(bench.has_ended, 30, what="the order to end")
    assert len(requests) == 1
