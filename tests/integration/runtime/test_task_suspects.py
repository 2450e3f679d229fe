"""A suspect runs alone under the task driver as well: in a thread pool several messages are worked on at once."""

import threading

from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.states import SagaStatus
from saga.core.transitions import AttemptStarted
from saga.runtime.engine import Definitions, load
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from tests.simulation.stepping import Process


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool = True


def test_a_suspect_waits_for_company_to_end_and_has_none_while_it_runs() -> None:
    """The suspect does not start beside a running step; once it runs alone, another message of the process starts nothing."""
    gates = {name: threading.Event() for name in ("SO-slow", "SO-suspect", "SO-late")}
    began = {name: threading.Event() for name in gates}

    def step(order: Order) -> Done:
        began[order.order_id].set()
        gates[order.order_id].wait(20)
        return Done()

    saga = Saga("suspects", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(step)])
    store, definitions = MemoryStore(), Definitions([saga])
    ids = {}
    for name in gates:
        new = new_saga(saga, Order(order_id=name), store, environment="test", tenant="test")
        ids[name] = answer(new, store.accept([new])[0]).saga_id
    for number in range(2):
        dying = Process(store, definitions, f"dead-{number}")
        dying.wake(ids["SO-suspect"])
        dying.settle()
        store.close_worker(dying.worker_id)
    worker = TaskWorker(
        store, definitions, Executor(str, store.clock), queues=frozenset({"saga"}), publish=lambda _hints: None
    )

    def body(name: str) -> threading.Thread:
        thread = threading.Thread(target=worker.run, args=(ids[name], "suspects", "step:a"))
        thread.start()
        return thread

    slow = body("SO-slow")
    assert began["SO-slow"].wait(10)
    body("SO-suspect").join(10)
    assert not began["SO-suspect"].is_set(), "the suspect ran beside another step"
    gates["SO-slow"].set()
    slow.join(10)
    suspect = body("SO-suspect")
    assert began["SO-suspect"].wait(10)
    body("SO-late").join(10)
    assert not began["SO-late"].is_set(), "a bystander ran beside the suspect"
    gates["SO-suspect"].set()
    suspect.join(10)
    gates["SO-late"].set()
    body("SO-late").join(10)
    for saga_id in ids.values():
        loaded = load(definitions, store.load([saga_id])[saga_id])
        assert loaded is not None
        assert loaded.state.status is SagaStatus.COMPLETED
    entries = store.load([ids["SO-suspect"]])[ids["SO-suspect"]]
    starts = [it for entry in entries for it in decode(entry.body) if isinstance(it, AttemptStarted)]
    assert [it.alone for it in starts] == [False, False, True]
