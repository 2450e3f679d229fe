"""A start that the database refuses halts its own saga, in a bounded number of tries, under both drivers."""

from collections.abc import Sequence

from saga.core.states import HaltReason
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.task import TaskWorker
from saga.store.memory import MemoryStore
from saga.store.port import Append, AppendResult
from tests.simulation.sagas import SAGAS, begin, fork
from tests.simulation.stepping import Process, state_of

DEFINITIONS = Definitions(SAGAS)


class _Refusing(MemoryStore):
    """A store that refuses the data of every first attempt of `b`."""

    refused_count = 0

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        if any('"t":"attempt_started","at"' in it.entry.body and '"node":"b:a"' in it.entry.body for it in group):
            self.refused_count += 1
            assert self.refused_count < 10, "refused again and again"
            return [AppendResult.REFUSED for _ in group]
        return super().append(group)


def test_the_process_driver_gets_to_the_bad_start_behind_one_that_it_may_not_run() -> None:
    """The first ready node belongs to another queue; the refused one is behind it."""
    store = _Refusing()
    saga_id = begin(store, fork, "SO-1")
    worker = Process(store, DEFINITIONS, "w1", queues={"right"})
    worker.wake(saga_id)
    worker.settle()
    halt = state_of(store, DEFINITIONS, saga_id).halt
    assert halt is not None
    assert (halt.reason, halt.node) == (HaltReason.DEFECT, "b:a")


def test_the_task_driver_halts_it_as_well() -> None:
    """One message, one body: the start is tried by itself, and then it is a defect."""
    store = _Refusing()
    saga_id = begin(store, fork, "SO-1")
    worker = TaskWorker(
        store, DEFINITIONS, Executor(str, store.clock), queues=frozenset({"right"}), publish=lambda _hints: None
    )
    worker.start()
    assert worker.run(saga_id, "fork", "b:a") is None
    worker.stop()
    halt = state_of(store, DEFINITIONS, saga_id).halt
    assert halt is not None
    assert (halt.reason, halt.node) == (HaltReason.DEFECT, "b:a")
