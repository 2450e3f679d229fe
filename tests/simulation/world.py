"""A whole fleet on a virtual clock from one seed: production drivers, a lossy broker, barrier participants, crashes.

The store is the in-memory one that the conformance suite holds to the same sentences as the databases. Everything else
that could go wrong is dealt by one random generator: messages are lost, doubled, reordered and sent to the wrong process;
answers are lost after the work was done; requests arrive late; processes die at every point between two moves and are
replaced. After the safety phase everything heals, and every saga must end within a bound: the liveness phase.

The oracle is the participant's own ledger and the script of business rejections, never the engine's word.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from saga.core.attempts import LONE_DEATHS
from saga.core.definition import Saga
from saga.core.fold import SagaState
from saga.core.outcomes import EffectChange, Outcome, OutcomeCode, Payload
from saga.core.states import ENDED, SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.work import Call
from saga.store.memory import MemoryStore
from tests.simulation.sagas import Order, begin
from tests.simulation.stepping import Process, state_of

ROUND_LIMIT = 400


class VirtualClock:
    def __init__(self) -> None:
        self.instant = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def pass_s(self, duration_s: float) -> None:
        self.instant += timedelta(seconds=duration_s)


@dataclass
class Participant:
    """A barrier participant in memory, with a ledger of what was really done, in order."""

    rejects: set[tuple[str, str]]
    """(order id, step) pairs that get a business no."""
    kept: dict[str, Outcome] = field(default_factory=dict)
    ledger: list[tuple[str, str, str]] = field(default_factory=list)
    """(what, order id, step): what is `applied` or `undone`."""

    def handle(self, call: Call) -> Outcome:
        order_id, step = call.state.entity, call.step.name
        if call.wire_key in self.kept:
            return self.kept[call.wire_key]
        if call.node.endswith(":c"):
            answer = self._undo(call.state.node(f"{step}:a").wire_key, order_id, step)
        elif (order_id, step) in self.rejects:
            answer = Outcome(OutcomeCode.REJECTED, "no")
        else:
            self.ledger.append(("applied", order_id, step))
            answer = Outcome(
                OutcomeCode.SUCCEEDED, result=Payload('{"ref":"r"}'), effects=(EffectChange("unit", step, 1, 1),)
            )
        self.kept[call.wire_key] = answer
        return answer

    def _undo(self, key: str, order_id: str, step: str) -> Outcome:
        before = self.kept.get(key)
        self.kept[key] = Outcome(OutcomeCode.REJECTED, "tombstoned")
        if before is None or before.code is not OutcomeCode.SUCCEEDED:
            return Outcome(OutcomeCode.SUCCEEDED, effects=())
        self.ledger.append(("undone", order_id, step))
        return Outcome(OutcomeCode.SUCCEEDED, effects=(EffectChange("unit", step, 1, -1),))


class World:
    """One run from one seed; `faults` counts what was really injected."""

    def __init__(self, seed: int, sagas: tuple[Saga[Order], ...], saga_count: int = 6, process_count: int = 3) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock)
        self.definitions = Definitions(sagas)
        self.rejects: set[tuple[str, str]] = set()
        self.ids: list[str] = []
        self.definition_of: dict[str, Saga[Order]] = {}
        self.participant = Participant(self.rejects)
        self.late: list[Call] = []
        self.faults: dict[str, int] = {}
        self.boots = 0
        self.paused: set[str] = set()
        self.processes = [self._boot() for _ in range(process_count)]
        for number in range(saga_count):
            self._accept(self.random.choice(sagas), f"SO-{number}")

    def _accept(self, saga: Saga[Order], order_id: str) -> None:
        if self.random.random() < 0.5:
            before = [step.name for step in saga.order if not saga.after_pivot(step)]
            self.rejects.add((order_id, self.random.choice(before)))
        saga_id = begin(self.store, saga, order_id, f"{self.seed:08}-{len(self.ids):04}")
        self.ids.append(saga_id)
        self.definition_of[saga_id] = saga

    def _boot(self) -> Process:
        self.boots += 1
        queues = self.random.choice(
            [None, {"left", "left.rollback", "saga", "saga.rollback"}, {"right", "right.rollback"}]
        )
        return Process(self.store, self.definitions, f"boot-{self.boots}", queues=queues)

    def _fault(self, kind: str) -> None:
        self.faults[kind] = self.faults.get(kind, 0) + 1

    def run(self, moves: int = 400) -> None:
        """The safety phase, then the liveness phase."""
        for _ in range(moves):
            self._move()
        self._heal()

    def _move(self) -> None:
        process = self.random.choice(self.processes)
        moves = ["wake"] * 30 + ["commit"] * 25 + ["perform"] * 25 + ["crash", "crash", "pause"] + ["late"] * 6
        match self.random.choice(moves + ["pass"] * 6 + ["sweep"] * 4):
            case "wake":
                process.wake(self.random.choice(self.ids))
            case "commit" if process.appends:
                self._commit(process)
            case "perform" if process.calls:
                self._perform(process, self.random.choice(process.calls))
            case "crash":
                self._crash(process)
            case "pause":
                self._pause(process)
            case "late" if self.late:
                self._fault("late")
                self.participant.handle(self.late.pop(self.random.randrange(len(self.late))))
            case "pass":
                self._pass(self.random.choice([1, 1, 2, 5, 30]))
            case "sweep":
                for due in self.store.sweep_due(4, 5.0):
                    process.wake(due.saga_id)
            case _:
                pass  # nothing in hand for that move

    def _commit(self, process: Process) -> None:
        if self.random.random() < 0.1:
            self._fault("commit_outcome_unknown")
            self.store.append(process.appends)
        process.commit(self.random.randint(1, len(process.appends)))

    def _perform(self, process: Process, call: Call) -> None:
        kind = self.random.choice(
            ["ok"] * 6 + ["not_sent", "lost_before", "lost_after", "late", "doubled", "throttled"]
        )
        if kind == "not_sent":
            process.finish(call, Outcome(OutcomeCode.NOT_SENT, "refused"))
        elif kind == "throttled":
            process.finish(call, Outcome(OutcomeCode.THROTTLED, "503", retry_after_s=1.0))
        elif kind in ("lost_before", "late"):
            if kind == "late":
                self.late.append(call)
            process.finish(call, Outcome(OutcomeCode.UNKNOWN, kind))
        else:
            answer = self.participant.handle(call)
            answer = self.participant.handle(call) if kind == "doubled" else answer
            process.finish(call, Outcome(OutcomeCode.UNKNOWN, kind) if kind == "lost_after" else answer)
        if kind not in ("ok", "late"):
            self._fault(kind)

    def _crash(self, process: Process) -> None:
        """The process is gone with everything in its hands; some of its requests are still on their way."""
        self._fault("crash_with_open_attempt" if process.calls else "crash")
        self.late += [call for call in process.calls if self.random.random() < 0.5]
        self.processes[self.processes.index(process)] = self._boot()

    def _pass(self, seconds: int) -> None:
        """Time passes; whoever lives renews every second, and who finds himself declared dead goes on under a new name."""
        for _ in range(seconds):
            self.clock.pass_s(1.0)
            for process in self.processes:
                if process.worker_id not in self.paused and not self.store.renew_lease(process.worker_id):
                    self._fault("zombie")
                    self.boots += 1
                    process.rename(f"boot-{self.boots}")
            for dead in self.store.dead_workers():
                self.store.close_worker(dead)

    def _pause(self, process: Process) -> None:
        """SIGSTOP for longer than a lease; then it comes back with its calls and appends still in hand."""
        self.paused.add(process.worker_id)
        self._pass(7)
        self.paused.clear()

    def _heal(self) -> None:
        self.processes = [Process(self.store, self.definitions, f"healed-{self.boots}")]
        healer = self.processes[0]
        for _ in range(ROUND_LIMIT):
            self._pass(4)
            while self.late:
                self.participant.handle(self.late.pop())
            for due in self.store.sweep_due(50, 5.0):
                healer.wake(due.saga_id)
            healer.settle()
            while healer.calls:
                call = healer.calls[0]
                healer.finish(call, self.participant.handle(call))
                healer.settle()
            if all(self._has_ended(state_of(self.store, self.definitions, it)) for it in self.ids):
                return
        shown = [(it, state_of(self.store, self.definitions, it).status) for it in self.ids]
        raise AssertionError(f"not everything ended: {shown}")

    def _has_ended(self, state: SagaState) -> bool:
        """Ended, or halted because the script killed it three times with nothing else in flight, as it must."""
        deaths = max((node.lone_death_count for node in state.nodes.values()), default=0)
        return state.status in ENDED or (deaths >= LONE_DEATHS and state.status is SagaStatus.HALTED)

    def check(self) -> None:
        """Every invariant, judged by the participant's ledger and the script."""
        for saga_id in self.ids:
            state = state_of(self.store, self.definitions, saga_id)
            if state.status not in ENDED:
                self._fault("poison")
                continue
            saga, order_id = self.definition_of[saga_id], state.entity
            mine = [(what, step) for what, order, step in self.participant.ledger if order == order_id]
            applied = [step for what, step in mine if what == "applied"]
            undone = [step for what, step in mine if what == "undone"]
            assert len(applied) == len(set(applied)), f"{order_id}: an effect twice: {mine}"
            must_fail = any(order == order_id for order, _ in self.rejects)
            expected = SagaStatus.COMPENSATED if must_fail else SagaStatus.COMPLETED
            assert state.status is expected, f"{order_id}: {state.status} instead of {expected}"
            if state.status is SagaStatus.COMPLETED:
                assert sorted(applied) == sorted(step.name for step in saga.order), mine
                assert not undone, mine
            else:
                kept = {step.name for step in saga.order if step.compensation is not None}
                assert set(applied) & kept == set(undone), f"{order_id}: left behind: {mine}"
                order_of = {step.name: place for place, step in enumerate(saga.order)}
                assert undone == sorted(undone, key=order_of.__getitem__, reverse=True), f"{order_id}: {undone}"
