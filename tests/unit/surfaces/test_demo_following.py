"""What the demonstration reads in journals while they are written."""

from datetime import datetime, timedelta
from typing import cast

from saga.core import transitions as t
from saga.core.outcomes import OutcomeCode, Payload
from saga.core.states import Effect, NodePhase, SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import OrderPrice
from saga.runtime.starting import new_saga
from saga.store.codec import encode
from saga.store.journal import JournalEntry
from saga.store.opening import open_store
from saga.store.port import (
    Append,
    SagaColumns,
    Store,
)
from saga.surfaces.demo import orders_of
from saga.surfaces.demo_following import Follower

PRICE = OrderPrice(goods=900, tax=180, freight=120, total=1200, currency="GBP")
WORKER = "worker-a"


class Journal:
    """One order in a store of its own, entry after entry."""

    def __init__(self) -> None:
        self.store: Store = open_store("memory:")
        self.order = orders_of(1, 7)[0]
        new = new_saga(fulfil_order, self.order, self.store, environment="test", tenant="default")
        self.saga_id = self.store.accept([new])[0].saga_id
        self.seq = 1

    @property
    def pair(self) -> tuple[str, str]:
        return self.saga_id, self.order.order_id

    def at(self, after_s: float = 0.0) -> datetime:
        return self.store.now() + timedelta(seconds=after_s)

    def write(self, *facts: t.Transition, writer: str = WORKER, status: SagaStatus = SagaStatus.RUNNING) -> None:
        self.seq += 1
        last = self.store.load([self.saga_id])[self.saga_id][-1].hash
        entry = JournalEntry(self.seq, facts[0].at, writer, writer, None, encode(facts), last)
        columns = SagaColumns(status, None, None)
        assert self.store.append([Append(self.saga_id, entry, columns)])[0].value == "appended"

    def try_node(self, node: str, epoch: int, code: OutcomeCode, detail: str = "", *, result: str = "") -> None:
        """An attempt and its outcome, in two entries."""
        is_done = code is OutcomeCode.SUCCEEDED
        phase = {OutcomeCode.UNKNOWN: NodePhase.BACKOFF, OutcomeCode.REJECTED: NodePhase.FAILED}.get(
            code, NodePhase.DONE
        )
        now = self.at()
        self.write(t.AttemptStarted(now, node, epoch, WORKER, self.at(10)))
        effect = Effect.APPLIED if is_done else Effect.UNKNOWN
        next_at = now + timedelta(seconds=0.8) if phase is NodePhase.BACKOFF else None
        payload = Payload(result) if result else None
        self.write(t.AttemptEnded(now, node, epoch, code, phase, effect, detail, next_at, payload))


def _said(follower: Follower) -> list[tuple[str, str]]:
    return [(it.step, it.what) for it in follower.happened]


def test_a_lost_answer_and_its_repeat() -> None:
    """An attempt of unknown outcome is told with what was seen and when it is tried again; its repeat that succeeds is told and
    counted. What was read once is not read again."""
    journal = Journal()
    follower = Follower(journal.store)
    follower.take([journal.pair])
    journal.try_node("reserve_inventory:a", 1, OutcomeCode.UNKNOWN, "ConnectionError: reset")
    follower.look()
    journal.try_node("reserve_inventory:a", 2, OutcomeCode.SUCCEEDED)
    journal.try_node("book_shipment:a", 1, OutcomeCode.UNKNOWN, "HTTP 500 fault")
    follower.look()
    follower.look()
    assert _said(follower) == [
        ("reserve_inventory", "no answer → the same again in 800 ms"),
        ("reserve_inventory", "try 2, same bytes, same key → succeeded"),
        ("book_shipment", "HTTP 500 → the same again in 800 ms"),
    ]
    assert follower.repeated_count == 1


def test_a_rollback_is_told_with_its_plan_and_counted_when_it_has_ended() -> None:
    """The cause is the business code, or `cancelled` for a cancel; it counts once the order has ended, and then nobody reads on."""
    journal = Journal()
    follower = Follower(journal.store)
    follower.take([journal.pair])
    now = journal.at()
    plan = t.PlanFrozen(
        now, (t.PlannedEntry("book_shipment", "compensate"), t.PlannedEntry("reserve_inventory", "compensate"))
    )
    turned = t.RollbackRequested(now, "rejected", "authorize_payment", "declined")
    journal.write(turned, plan, status=SagaStatus.COMPENSATING)
    follower.look()
    assert _said(follower) == [("authorize_payment", "declined → undo book_shipment → undo reserve_inventory")]
    assert not follower.causes
    journal.write(t.SagaCompensated(now), status=SagaStatus.COMPENSATED)
    follower.look()
    assert (dict(follower.causes), follower.open) == ({"declined": 1}, [])
    assert not follower.by_order[journal.order.order_id].is_completed


def test_a_completed_order_is_due_its_price() -> None:
    """What it must pay is the journalled total, and who wrote to it is known with the time of the first entry."""
    journal = Journal()
    follower = Follower(journal.store)
    follower.take([journal.pair])
    journal.try_node("price_order:a", 1, OutcomeCode.SUCCEEDED, result=PRICE.model_dump_json())
    journal.write(t.SagaCompleted(journal.at()), status=SagaStatus.COMPLETED)
    follower.look()
    one = follower.by_order[journal.order.order_id]
    assert (one.is_completed, one.due, one.state) == (True, 1200, None)
    assert one.first_by.keys() == {"api", WORKER}


class CountingStore:
    """A store that counts how often a journal was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def tail(self, saga_id: str, after_seq: int) -> list[JournalEntry]:
        assert after_seq == 0
        self.asked.append(saga_id)
        return []


def test_a_look_is_bounded_and_the_next_one_goes_on() -> None:
    """A look without time reads one order, the next look the one behind it: with more orders a look costs no more."""
    store = CountingStore()
    follower = Follower(cast(Store, store))
    follower.take([(f"saga-{n}", f"SO-{n}") for n in range(3)])
    for _ in range(4):
        follower.look(0.0)
    assert store.asked == ["saga-0", "saga-1", "saga-2", "saga-0"]
