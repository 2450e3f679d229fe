"""One order, restored to a random instant of its life: whatever happened after the backup, the end is as if nothing was lost.

The participants keep what they did; the journal is put back to an entry that is drawn, held, compared with the books and let go, with
a cancel at a random moment of all that. Through the production driver, `reconciled` and the codec.
"""

import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from saga.core.connector import Call
from saga.core.definition import Saga, compensatable, parallel, pivot, readonly, retriable
from saga.core.events import CancelAsked
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.retry import RetryPolicy
from saga.core.states import ENDED, HaltReason, SagaStatus
from saga.runtime.engine import Definitions, fold, tell
from saga.runtime.work import Call as Sent
from saga.store.codec import decode
from saga.store.journal import Journal
from saga.store.memory import MemoryStore
from saga.surfaces.ledgers import Ledgers, Movement
from saga.surfaces.restoring import Books, reconciled, restored
from saga.surfaces.rollbacks import plan_faults
from tests.simulation.sagas import B, C, Order, a, b, barrier, begin, c, d, e, f, undo_a, undo_c
from tests.simulation.stepping import DONE, Process, state_of
from tests.simulation.world import VirtualClock

SEEDS = int(os.environ.get("SAGA_RESTORED_SEEDS", "300"))
BY = {"actor": "ops", "reason": "the disk died"}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOST, BUSY = Outcome(OutcomeCode.UNKNOWN, "read time-out"), Outcome(OutcomeCode.THROTTLED, "HTTP 429")
NO, CLOSED = Outcome(OutcomeCode.REJECTED, "no"), Outcome(OutcomeCode.REJECTED, "tombstoned")
give_back = barrier.post("/b/give-back", B, C)


def refund(charged: B) -> Call[C]:
    return give_back(charged)


TWO = RetryPolicy(max_attempts=2, max_elapsed_s=100.0, base_s=1.0, cap_s=8.0)
"""A refund that is down is stuck soon, and what stands behind it in the plan is undone."""
SHOP = Saga(
    "restored_shop", version=1, input=Order, entity=lambda order: order.order_id,
    steps=[
        compensatable(a, name="reserve", compensation=undo_a),
        readonly(f, name="screen"),
        parallel(compensatable(b, name="charge", compensation=refund, compensation_retry=TWO), compensatable(c, name="label", compensation=undo_c)),
        pivot(d, name="ship"),
        retriable(e, name="write"),
    ],
)  # fmt: skip
DEFINITIONS = Definitions([SHOP])


@dataclass
class World:
    """What the participants did, under each key once; an undo closes the key of its action."""

    dice: random.Random
    kept: dict[str, Outcome] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    step_of: dict[str, str] = field(default_factory=dict)
    balance: Counter[str] = field(default_factory=Counter)
    books: Ledgers = field(default_factory=lambda: Ledgers(frozenset({"barrier"})))
    is_healthy: bool = False
    refund_is_down: bool = False

    def answer(self, call: Sent) -> Outcome:
        """Applied, and the answer may be lost; or busy."""
        is_down = call.node == "charge:c" and self.refund_is_down
        if not self.is_healthy and (is_down or self.dice.random() < 0.1):
            return BUSY
        outcome = self._applied(call)
        return LOST if not self.is_healthy and self.dice.random() < 0.15 else outcome

    def _applied(self, call: Sent) -> Outcome:
        key, step = call.wire_key, call.node[:-2]
        if key in self.closed:
            return CLOSED
        if step == "screen":  # it has no memory: the next answer may be another
            return NO if self.dice.random() < 0.1 else DONE
        if key not in self.kept:
            is_no = not self.is_healthy and call.node in ("charge:a", "ship:a") and self.dice.random() < 0.2
            self.kept[key] = NO if is_no else DONE
            if not is_no:
                self._move(call, key, step)
        return self.kept[key]

    def _move(self, call: Sent, key: str, step: str) -> None:
        assert call.request is not None
        undone = json.loads(call.request.body.data).get("undoes")
        if undone is not None:
            self.closed.add(undone)
            self.balance[step] -= self.step_of.pop(undone, None) is not None
        else:
            self.step_of[key] = step
            self.balance[step] += 1 if call.node.endswith(":a") else -1
        self.books.add(Movement("barrier", len(self.kept), NOON, call.node, key, "SO-1", "EUR", "a", "b", 1))


class Life:
    """One order in one store under one process at a time."""

    def __init__(self, store: MemoryStore, clock: VirtualClock, saga_id: str, world: World, worker: str) -> None:
        self.store, self.clock, self.saga_id, self.world = store, clock, saga_id, world
        self.process = Process(store, DEFINITIONS, worker)
        self.process.wake(saga_id)
        self.process.settle()

    @property
    def status(self) -> SagaStatus:
        return state_of(self.store, DEFINITIONS, self.saga_id).status

    def go(self, moves: int) -> None:
        for _ in range(moves):
            if self.status in ENDED:
                return
            if self.process.calls:
                call = self.world.dice.choice(self.process.calls)
                self.process.finish(call, self.world.answer(call))
            else:
                self.clock.pass_s(120.0)
                self.process.wake(self.saga_id)
            self.process.settle()

    def cancel(self) -> None:
        asked = CancelAsked(self.store.clock(), "anna", "customer called")
        tell(self.store, DEFINITIONS, self.saga_id, asked, actor="api")
        self.process.wake(self.saga_id)
        self.process.settle()


def as_it_was(store: MemoryStore, clock: VirtualClock, saga_id: str, count: int) -> MemoryStore:
    """A store whose journal of this order has so many entries, and whose row knows no more."""
    backup, stored = MemoryStore(clock), store._sagas[saga_id]
    entries = store.load([saga_id])[saga_id][:count]
    state = fold(entries)[0]
    reason = None if state.halt is None else state.halt.reason
    row = replace(stored.row, status=state.status, halt_reason=reason, ended_at=state.ended_at)
    backup._sagas[saga_id] = replace(stored, row=row, journal=Journal(entries))
    return backup


def lived(world: World, clock: VirtualClock) -> Life:
    """A life up to a moment that is drawn, with a cancel perhaps."""
    store = MemoryStore(clock)
    life = Life(store, clock, begin(store, SHOP, "SO-1"), world, "w1")
    life.go(world.dice.randrange(12))
    if world.dice.random() < 0.4:
        life.cancel()
    life.go(world.dice.choice([0, 3, 40]))
    return life


def lived_again(world: World, clock: VirtualClock, backup: MemoryStore, saga_id: str) -> Life:
    """Held, compared, let go and gone on with to the end, with a cancel before, after or behind it all perhaps."""
    assert restored(backup, DEFINITIONS, restored_to=backup.now(), **BY).count == 1
    cancels = [world.dice.random() < 0.3 for _ in range(3)]
    life = Life(backup, clock, saga_id, world, "w2")
    if cancels[0]:
        life.cancel()
    assert reconciled(backup, DEFINITIONS, Books(world.books, backup.now()), **BY).count == 0, "it is too soon"
    clock.pass_s(120.0)
    assert reconciled(backup, DEFINITIONS, Books(world.books, backup.now()), **BY).count == 1
    if cancels[1]:
        life.cancel()
    backup.close_worker("w1")
    life.go(world.dice.randrange(6))
    if cancels[2]:
        life.cancel()
    life.go(60)
    return life


@pytest.mark.parametrize("batch", range(10))
def test_a_restored_order_ends_as_if_nothing_was_lost(batch: int) -> None:
    """Completed with everything done once, or compensated with nothing left; what was shipped is completed. Nobody has to look, but
    where the screen, asked anew, says no to an order that was shipped."""
    ends = Counter[SagaStatus]()
    for seed in range(batch * SEEDS // 10, (batch + 1) * SEEDS // 10):
        world, clock = World(random.Random(seed)), VirtualClock()
        world.refund_is_down = world.dice.random() < 0.2
        first = lived(world, clock)
        was_shipped = any(it == "ship" for it in world.step_of.values())
        length = len(first.store.load([first.saga_id])[first.saga_id])
        backup = as_it_was(first.store, clock, first.saga_id, world.dice.randint(1, length))
        if state_of(backup, DEFINITIONS, first.saga_id).status in ENDED:
            continue
        world.is_healthy = True
        clock.pass_s(600.0)
        second = lived_again(world, clock, backup, first.saga_id)
        state = state_of(backup, DEFINITIONS, first.saga_id)
        journal = [it for entry in backup.load([first.saga_id])[first.saga_id] for it in decode(entry.body)]
        assert list(plan_faults(SHOP, journal)) == [], f"seed {seed}"
        ends[second.status] += 1
        if state.halt is not None:
            stands = (was_shipped, state.halt.reason, state.halt.node)
            assert stands == (True, HaltReason.RETRIABLE_REJECTED, "screen:a"), f"seed {seed}"
            continue
        done = second.status is SagaStatus.COMPLETED
        wanted = dict.fromkeys(("reserve", "charge", "label", "ship", "write"), int(done))
        assert (state.status in ENDED, {it: world.balance[it] for it in wanted}) == (True, wanted), f"seed {seed}"
        assert done or not was_shipped, f"seed {seed}"
    assert ends[SagaStatus.COMPLETED]
    assert ends[SagaStatus.COMPENSATED]
