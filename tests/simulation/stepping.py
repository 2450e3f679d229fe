"""A worker process whose every move is made by hand: the production driver, a store, and a test that deals the cards.

Nothing of the driver is replaced. `wake`, `commit` and `finish` are what the loader, the committer and a step thread do,
one at a time and in any order, so a test can put anything between a call and its outcome.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from saga.core.fold import SagaState
from saga.core.outcomes import Outcome, OutcomeCode, Payload
from saga.runtime.driver import Driver
from saga.runtime.engine import Definitions, known
from saga.runtime.holding import fell_behind
from saga.runtime.loop import messages_for
from saga.runtime.work import Call, Committed, EndedCall, Hint, Limits, Work
from saga.store.codec import decode
from saga.store.port import Append, AppendResult, Store, WorkerRow

DONE = Outcome(OutcomeCode.SUCCEEDED, result=Payload('{"ref":"r"}'), effects=())


class Process:
    """One worker process under a test's hands."""

    def __init__(
        self, store: Store, definitions: Definitions, worker_id: str, *, queues: set[str] | None = None, slots: int = 80
    ) -> None:
        self.store, self.definitions, self.worker_id = store, definitions, worker_id
        self._register(worker_id, queues)
        self.driver = Driver(
            worker_id,
            limits=Limits(slots=slots, threads=slots, held=4 * slots),
            runs=lambda _saga, start: queues is None or start.queue in queues,
        )
        self.appends: list[Append] = []
        self.calls: list[Call] = []
        self.hints: list[Hint] = []
        self.troubles: list[str] = []
        self.rests: list[tuple[str, datetime]] = []
        self.behind: list[str] = []
        self.late_s = 0.0

    def _register(self, worker_id: str, queues: set[str] | None) -> None:
        self.queues = queues
        self.store.register_worker(WorkerRow(worker_id, "simulated", 1, tuple(queues or ()), lease_ttl_s=5.0))

    def rename(self, worker_id: str) -> None:
        """What `saga.runtime.worker` does when its lease was lost: another name for what it claims from now on."""
        self._register(worker_id, self.queues)
        self.worker_id = self.driver.worker_id = worker_id

    def wake(self, *saga_ids: str) -> None:
        """A message for these sagas arrives."""
        messages = messages_for(self.store, self.definitions, saga_ids)
        self._take(self.driver.step(self._now(), messages=messages))

    def commit(self, count: int | None = None) -> list[AppendResult]:
        """The committer writes what is waiting and tells the driver."""
        group, self.appends = self.appends[:count], self.appends[count:] if count else []
        results = self.store.append(group)
        answers = [
            Committed(
                it.saga_id,
                result,
                self.store.tail(it.saga_id, it.entry.seq - 1) if result is AppendResult.CONFLICT else (),
            )
            for it, result in zip(group, results, strict=True)
        ]
        self._take(self.driver.step(self._now(), committed=answers))
        return results

    def settle(self) -> None:
        """Commit until nothing waits to be written."""
        while self.appends:
            self.commit()

    def call(self, step: str, saga_id: str | None = None) -> Call:
        """The call in hand for `step` (`b` or `b:c`)."""
        node = step if ":" in step else f"{step}:a"
        found = [it for it in self.calls if it.node == node and saga_id in (None, it.state.saga_id)]
        assert found, f"no call of {node} in hand: {[it.node for it in self.calls]}"
        return found[0]

    def finish(self, call: Call, outcome: Outcome = DONE) -> None:
        """The call comes back; what follows from it waits to be committed."""
        self.calls.remove(call)
        done = EndedCall(call.state.saga_id, call.node, call.epoch, outcome)
        self._take(self.driver.step(self._now(), finished=[done]))

    def finish_all(self) -> None:
        """Everything in hand succeeds, until there is nothing left to do here."""
        for _ in range(1000):
            self.settle()
            if not self.calls:
                return
            self.finish(self.calls[0])
        raise AssertionError("a process that never comes to rest")

    def _now(self) -> datetime:
        return self.store.clock() + timedelta(seconds=self.late_s)

    def _take(self, work: Work) -> None:
        self.appends += work.appends
        self.calls += work.calls
        self.hints += work.hints
        self.troubles += work.troubles
        self.rests += work.rests
        for memory in work.behind:
            fell_behind(self.store, memory)
            self.behind.append(memory.state.saga_id)


def state_of(store: Store, definitions: Definitions, saga_id: str) -> SagaState:
    """What the journal says of a saga now."""
    loaded = known(definitions, store.load([saga_id])[saga_id])
    assert loaded is not None
    return loaded.state


def kinds(store: Store, saga_id: str) -> Sequence[str]:
    """The kinds of all its transitions, in order."""
    return [it.kind for entry in store.load([saga_id])[saga_id] for it in decode(entry.body)]
