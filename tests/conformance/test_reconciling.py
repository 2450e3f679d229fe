"""What `reconciled` asks before it lets a restored saga go: compensations that close no key, what is done, and what the journal lacks.

A shop whose bank serialises keys and is asked for a refund by a function of the charge, as the README recommends it: an undo by key
would leave a tombstone, a refund leaves nothing at the key of the charge."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from saga.core.connector import Call, Connector
from saga.core.definition import Saga, compensatable, pivot, readonly, retriable
from saga.core.events import CancelAsked
from saga.core.keys import logical_key, wire_key
from saga.core.outcomes import Outcome, OutcomeCode, Payload
from saga.core.states import HaltReason, NodePhase, SagaStatus
from saga.runtime.engine import Definitions, tell
from saga.runtime.holding import let_go
from saga.runtime.starting import answer, new_saga
from saga.runtime.work import Call as Sent
from saga.store.journal import Reached
from saga.store.memory import MemoryStore
from saga.store.port import SagaFilter, Store
from saga.surfaces.cancelling import CancelRequest, CancelStanding, cancel
from saga.surfaces.ledgers import BarrierRow, Ledgers, Movement
from saga.surfaces.restoring import Books, Moved, held, reconciled, released, restored
from tests.simulation.stepping import DONE, Process, state_of
from tests.simulation.world import VirtualClock

BY: dict[str, Any] = {"actor": "ops", "reason": "the disk died"}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATE_S = 73.0
"""An attempt takes ten seconds, its participant may apply it sixty later, and two are for clocks."""


class Order(BaseModel):
    order_id: str


class Charged(BaseModel):
    ref: str


class Refunded(BaseModel):
    ref: str


class Sealed(BaseModel):
    ref: str


class Packed(BaseModel):
    ref: str


bank = Connector("payment", keys="serialise", remembers_rejections=True, rejected={402: "declined"})
club = Connector("club", keys="ignored", rejected={402: "declined"})
carrier = Connector("carrier", keys="serialise", remembers_rejections=True, rejected={409: "full"})
at_bank, back_at_bank = bank.post("/charges", Order, Charged), bank.post("/refunds", Charged, Refunded)
at_club, back_at_club = club.post("/charges", Order, Charged), club.post("/refunds", Charged, Refunded)
do_ship, do_pack = carrier.post("/ships", Order, Sealed), carrier.post("/packs", Order, Packed)
unpack = carrier.undo("/packs/undo", of=do_pack)
do_label = carrier.post("/labels", Order, Packed)
unlabel = carrier.undo("/labels/undo", of=do_label)


def charge(order: Order) -> Call[Charged]:
    return at_bank(order)


def refund(charged: Charged) -> Call[Refunded]:
    return back_at_bank(charged)


def charge_at_club(order: Order) -> Call[Charged]:
    return at_club(order)


def refund_at_club(charged: Charged) -> Call[Refunded]:
    return back_at_club(charged)


def ship(order: Order) -> Call[Sealed]:
    return do_ship(order)


def write(order: Order) -> None:
    """A letter."""


def look(order: Order) -> None:
    """At the shelf."""


def shop(*steps: Any, **options: Any) -> Saga[Any]:
    return Saga("shop", version=1, input=Order, entity=lambda order: order.order_id, steps=list(steps), **options)


CHARGED = compensatable(charge, compensation=refund)
PLAIN = shop(CHARGED, pivot(ship), retriable(write, keys="serialise"))
BY_KEY = shop(compensatable(do_pack, name="pack", compensation=unpack), pivot(ship))
LABELLED = shop(
    compensatable(do_pack, name="pack", compensation=unpack),
    readonly(look),
    compensatable(do_label, name="label", compensation=unlabel),
    pivot(ship),
)
IGNORED = shop(
    compensatable(do_pack, name="pack", compensation=unpack),
    compensatable(charge_at_club, name="charge", compensation=refund_at_club, on_unknown="halt"),
    pivot(ship),
)


ANSWERED = Outcome(OutcomeCode.SUCCEEDED, result=Payload('{"ref":"r"}'), effects=())


@dataclass
class Bank:
    """Keeps its answer under each key, and what was charged less what was given back."""

    kept: dict[str, Outcome] = field(default_factory=dict)
    balance: int = 0
    undone: list[str] = field(default_factory=list)
    """The keys that were closed."""

    def answer(self, call: Sent) -> Outcome:
        if call.wire_key not in self.kept:
            self.balance += {"charge:a": 1, "charge:c": -1}.get(call.node, 0)
            self.kept[call.wire_key] = ANSWERED
            if call.request and "undoes" in (body := json.loads(call.request.body.data)):
                self.undone.append(body["undoes"])
        return self.kept[call.wire_key]


class Played:
    """One order in one store, moved by hand."""

    def __init__(self, store: Store, definition: Saga[Any], worker: str = "w1") -> None:
        self.store, self.definitions = store, Definitions([definition])
        new = new_saga(definition, Order(order_id="SO-1"), store, environment="test", tenant="shop")
        self.saga_id = answer(new, store.accept([new])[0]).saga_id
        self.process = Process(store, self.definitions, worker)
        self.wake()

    def wake(self) -> None:
        self.process.wake(self.saga_id)
        self.process.settle()

    def finish(self, *steps: str, outcome: Outcome = DONE) -> "Played":
        for step in steps:
            self.process.finish(self.process.call(step), outcome)
            self.process.settle()
        return self

    def cancelled(self) -> "Played":
        """While the carrier has no room."""
        self.finish("ship", outcome=Outcome(OutcomeCode.THROTTLED, "HTTP 429"))
        asked = CancelAsked(self.store.clock(), "anna", "customer called")
        tell(self.store, self.definitions, self.saga_id, asked, actor="api")
        self.wake()
        return self

    def restored(self) -> "Played":
        """The database is as it was at this instant."""
        at = self.store.now()
        assert restored(self.store, self.definitions, restored_to=at, **BY).count == 1
        return self

    def played_on(self, participant: "Bank") -> SagaStatus:
        """To its end, by another process."""
        self.process = Process(self.store, self.definitions, "w2")
        self.wake()
        while self.process.calls:
            self.finish((call := self.process.calls[0]).node, outcome=participant.answer(call))
        return state_of(self.store, self.definitions, self.saga_id).status

    def reconciled(self, books: Ledgers | None = None, late_s: float = LATE_S) -> Moved:
        """With books that were read so long after it was held."""
        read_at = self.store.now() + timedelta(seconds=late_s)
        return reconciled(self.store, self.definitions, Books(books or Ledgers(), read_at), **BY)


def late_books(order: Played, books: Ledgers) -> Books:
    """Books that were read when nothing could be on its way any more."""
    return Books(books, order.store.now() + timedelta(seconds=LATE_S))


def key_of(node: str) -> str:
    return wire_key("test", "shop", logical_key("shop", "SO-1", 1, node))


def in_ledger(node: str, service: str = "payment") -> Ledgers:
    books = Ledgers(frozenset({service}))
    books.add(Movement(service, 1, NOON, "POST /refunds", key_of(node), "SO-1", "EUR", "merchant", "customer:SO-1", 5))
    return books


def in_barrier(node: str) -> Ledgers:
    """The participant knows the key, and moved nothing under it."""
    books = Ledgers(frozenset({"payment"}))
    row = BarrierRow("payment", 1, NOON, "POST /refunds", key_of(node), "SO-1", "action", "applied")
    books.barrier[row.key] = [row]
    return books


@pytest.mark.parametrize("done", [(), ("charge",)], ids=["accepted", "charged"])
def test_a_refund_that_is_no_undo_by_key_is_looked_up(store: Store, done: tuple[str, ...]) -> None:
    """Without books it is held, and told what to type. Books without its key: it was not made, and the order goes forward."""
    order = Played(store, PLAIN).finish(*done).restored()
    [left] = order.reconciled().left
    assert (
        "charge:c may have been sent, and payment has no ledger to look at; if it was, it was rolled back" in left.why
    )
    can_cancel = not done  # or the ship is on its way as far as the journal knows
    assert (f"type  SAGA_TENANT=shop saga cancel {order.saga_id}" in left.why) == can_cancel
    assert ("a cancel does not roll it back until the books show" in left.why) != can_cancel
    assert order.reconciled(in_ledger("charge:a")).count == 1
    assert state_of(store, order.definitions, order.saga_id).status is SagaStatus.RUNNING


@pytest.mark.parametrize("done", [(), ("charge",)], ids=["accepted", "charged"])
@pytest.mark.parametrize("where", ["ledger", "barrier"])
def test_an_order_whose_undo_stands_in_the_books_rolls_back(store: Store, done: tuple[str, ...], where: str) -> None:
    """Whatever its journal says: also with the ship on its way, since nothing is undone before that is settled."""
    order = Played(store, PLAIN).finish(*done).restored()
    assert order.reconciled({"ledger": in_ledger, "barrier": in_barrier}[where]("charge:c")).count == 1
    cause = state_of(store, order.definitions, order.saga_id).cause
    assert cause is not None
    assert (cause.cause, cause.step, cause.detail) == (
        "undone",
        "charge",
        "the books of its participant have the undo of it",
    )


def test_what_never_arrived_is_not_waited_for(store: Store) -> None:
    """The ship is on its way as far as the journal knows. An undo says that it is not; so do its books, once its time is over."""
    order = Played(store, PLAIN, "w0").finish("charge").restored()
    store.close_worker("w0")
    assert order.reconciled(in_ledger("charge:c")).count == 1
    assert state_of(store, order.definitions, order.saga_id).node("ship:a").phase is NodePhase.CLOSED
    assert order.played_on(money := Bank()) is SagaStatus.COMPENSATED
    assert key_of("ship:a") not in money.kept
    clock = VirtualClock()
    late = Played(MemoryStore(clock), BY_KEY, "w0").finish("pack").restored()
    none_of_it = Ledgers(frozenset({"carrier"}))
    clock.pass_s(60.0)
    cancel(late.store, late.definitions, late.saga_id, CancelRequest(reason="too slow"), surface="cli")
    late.store.close_worker("w0")
    assert late.reconciled(none_of_it).count == 1
    assert late.played_on(Bank()) is SagaStatus.COMPENSATED


def shipped(outcome: str = "applied") -> Ledgers:
    """Books of the carrier that have no movement, and the key of the ship in its barrier."""
    books = Ledgers(frozenset({"carrier", "payment"}))
    books.barrier[key_of("ship:a")] = [
        BarrierRow("carrier", 1, NOON, "POST /ships", key_of("ship:a"), "SO-1", "action", outcome)
    ]
    return books


def cancelled_while_held(store: Store, definition: Saga[Any], *done: str) -> Played:
    order = Played(store, definition, "w0").finish(*done).restored()
    cancel(store, order.definitions, order.saga_id, CancelRequest(reason="too slow"), surface="cli")
    store.close_worker("w0")
    return order


@pytest.mark.parametrize("outcome", ["applied", "rejected"])
def test_a_step_of_no_return_counts_where_it_was_applied(outcome: str) -> None:
    """A participant that posts nothing has it in its barrier; one that said no has not done it."""
    order = cancelled_while_held(MemoryStore(), BY_KEY, "pack")
    assert order.reconciled(shipped(outcome)).count == 1
    state = state_of(order.store, order.definitions, order.saga_id)
    assert (state.is_past_return, state.is_cancel_refused) == ((outcome == "applied"),) * 2


TOO_SOON = "what was sent may be on its way until 00:01:12 UTC"


@pytest.mark.parametrize("late_s", [0.0, 71.0, 73.0])
def test_only_what_cannot_be_on_its_way_any_more_never_arrived(late_s: float) -> None:
    """The books are of too shortly after the workers were stopped: the ship may have come since, or an undo, or a charge where keys
    are ignored. Every order stays held, and is told when to ask again; whoever lets it go answers for that without books."""
    carrier = Ledgers(frozenset({"carrier"}))
    order = cancelled_while_held(MemoryStore(VirtualClock()), BY_KEY, "pack")
    moved = order.reconciled(carrier, late_s)
    assert (moved.count, [it.why for it in moved.left]) == (
        (1, []) if late_s > 72 else (0, [f"{TOO_SOON}: type  saga db reconcile  again then"])
    )
    if late_s > 72:
        assert state_of(order.store, order.definitions, order.saga_id).status is SagaStatus.COMPENSATING
        return
    read_at = order.store.now() + timedelta(seconds=late_s)
    [left] = released(order.store, order.definitions, held(order.store), Books(carrier, read_at), **BY).left
    assert left.why.startswith(f"{TOO_SOON}, so its books do not show yet what was not done")
    assert released(order.store, order.definitions, held(order.store), None, **BY).count == 1


def test_a_charge_of_the_lost_part_is_made_once_it_cannot_arrive() -> None:
    """Its participant ignores keys, and its books show that it was not made, whether the journal has its claim or not."""
    for done in (("pack",), ()):
        order = Played(MemoryStore(VirtualClock()), IGNORED, "w0").finish(*done).restored()
        order.store.close_worker("w0")
        assert order.reconciled(Ledgers(frozenset({"club", "carrier"}))).count == 1
        assert order.played_on(Bank()) is SagaStatus.COMPLETED


def test_a_ship_whose_answer_was_lost_never_arrived() -> None:
    """Its last attempt has ended, and its books do not have it: a cancel need not wait for it."""
    order = Played(MemoryStore(VirtualClock()), BY_KEY, "w0").finish("pack")
    order.finish("ship", outcome=Outcome(OutcomeCode.UNKNOWN, "time-out")).restored()
    cancel(order.store, order.definitions, order.saga_id, CancelRequest(reason="too slow"), surface="cli")
    assert order.reconciled(Ledgers(frozenset({"carrier"}))).count == 1
    assert state_of(order.store, order.definitions, order.saga_id).status is SagaStatus.COMPENSATING


def test_without_its_books_a_ship_on_its_way_stays_on_its_way() -> None:
    """A cancel after the let-go waits for what becomes of it."""
    clock = VirtualClock()
    order = Played(MemoryStore(clock), PLAIN, "w0").finish("charge").restored()
    clock.pass_s(600.0)
    assert order.reconciled(Ledgers(frozenset({"payment"}))).count == 1
    assert state_of(order.store, order.definitions, order.saga_id).node("ship:a").phase is NodePhase.OPEN
    tell(order.store, order.definitions, order.saga_id, CancelAsked(clock.now(), "anna", "called"), actor="api")
    assert state_of(order.store, order.definitions, order.saga_id).status is SagaStatus.RUNNING


@pytest.mark.parametrize("how", ["reconciled", "by hand"])
def test_a_cancel_after_the_let_go_waits_for_a_step_of_no_return_without_books(how: str) -> None:
    """It was shipped in the lost part, and the journal has not begun to: neither a cancel nor the deadline is obeyed before that is
    asked for again and answered."""
    clock, bank_side = VirtualClock(), Bank()
    order = Played(MemoryStore(clock), shop(CHARGED, pivot(ship), deadline_s=3600.0), "w0").restored()
    bank_side.kept = {key_of(node): ANSWERED for node in ("charge:a", "ship:a")}
    if how == "reconciled":
        assert order.reconciled(in_ledger("charge:a")).count == 1
    else:
        assert released(order.store, order.definitions, held(order.store), None, **BY).count == 1
    order.store.close_worker("w0")
    tell(order.store, order.definitions, order.saga_id, CancelAsked(clock.now(), "anna", "called"), actor="api")
    clock.pass_s(7200.0)
    assert order.played_on(bank_side) is SagaStatus.COMPLETED
    assert state_of(order.store, order.definitions, order.saga_id).is_cancel_refused


def answered_for(books: Ledgers | None, *, is_past_return: bool = False) -> Played:
    """Cancelled while it was held, and let go by a person."""
    order = cancelled_while_held(MemoryStore(), BY_KEY, "pack")
    given = None if books is None else late_books(order, books)
    rows = held(order.store)
    assert released(order.store, order.definitions, rows, given, is_past_return=is_past_return, **BY).count == 1
    return order


def test_what_the_books_have_counts_when_a_person_lets_go() -> None:
    """Nobody has to remember what `reconcile` had read: shipped goes forward, also when the person knows it alone; undone rolls back."""
    assert answered_for(shipped()).played_on(Bank()) is SagaStatus.COMPLETED
    assert answered_for(None, is_past_return=True).played_on(Bank()) is SagaStatus.COMPLETED
    undone = answered_for(in_ledger("pack:c", "carrier"))
    cause = state_of(undone.store, undone.definitions, undone.saga_id).cause
    assert cause is not None
    assert cause.cause == "undone"
    assert undone.played_on(Bank()) is SagaStatus.COMPENSATED


def test_a_ship_behind_a_charge_that_was_not_made_was_not_sent() -> None:
    """The bank's books say so, and a cancel is obeyed at once though the carrier has none."""
    order = Played(MemoryStore(), PLAIN, "w0").restored()
    assert order.reconciled(Ledgers(frozenset({"payment"}))).count == 1
    assert not state_of(order.store, order.definitions, order.saga_id).may_be_past_return


@pytest.mark.parametrize("wait_s", [60.0, 7200.0])
def test_a_damaged_journal_that_a_person_looks_at_late(wait_s: float) -> None:
    """Charged and shipped in the end that it lost. Its deadline stands still, and a cancel waits for the ship to be asked for again."""
    clock, bank_side = VirtualClock(), Bank()
    order = Played(MemoryStore(clock), shop(CHARGED, pivot(ship), deadline_s=600.0), "w0")
    order.finish("charge", outcome=bank_side.answer(order.process.call("charge")))
    bank_side.kept[key_of("ship:a")] = ANSWERED
    stored = order.store._sagas[order.saga_id]  # type: ignore[attr-defined]  # it is the one in memory
    stored.journal.reached = Reached(len(stored.journal), stored.journal[-1].hash)
    del stored.journal[1:]
    order.store.close_worker("w0")
    clock.pass_s(wait_s)
    [row] = order.store.find(SagaFilter(), 1)
    books = Books(in_ledger("charge:a"), clock.now() + timedelta(seconds=LATE_S))
    assert released(order.store, order.definitions, [row], books, **BY).count == 1
    tell(order.store, order.definitions, order.saga_id, CancelAsked(clock.now(), "anna", "called"), actor="api")
    assert order.played_on(bank_side) is SagaStatus.COMPLETED
    assert bank_side.balance == 1


@pytest.mark.parametrize(("done", "node"), [((), "charge:a"), (("pack", "charge"), "charge:c")])
def test_what_the_books_have_where_keys_are_ignored_is_not_done_again(done: tuple[str, ...], node: str) -> None:
    """Not by a person who lets it go with the books; without them he answers for it."""
    order = Played(MemoryStore(), IGNORED).finish(*done).restored()
    books = late_books(order, in_ledger(node, "club"))
    [left] = released(order.store, order.definitions, held(order.store), books, **BY).left
    assert f"{node} was done, and would be done again: its participant ignores keys" in left.why
    assert released(order.store, order.definitions, held(order.store), None, **BY).count == 1


def test_a_step_of_no_return_that_ignores_keys_is_not_sent_again_by_saying_that_it_was_done() -> None:
    """The journal cannot be told so, and would send it."""
    club = shop(
        compensatable(do_pack, name="pack", compensation=unpack),
        pivot(charge_at_club, name="charge", on_unknown="halt"),
    )
    order = Played(MemoryStore(), club).restored()
    [left] = released(order.store, order.definitions, held(order.store), None, is_past_return=True, **BY).left
    assert left.why.startswith(
        "charge:a was done, and would be done again: its participant ignores keys; leave it halted and end it by hand"
    )


def test_a_rollback_over_a_step_of_no_return_is_not_let_go() -> None:
    """A cancel took the place of a lost claim, and the carrier's books have the ship."""
    order = Played(MemoryStore(), PLAIN, "w1").finish("charge", outcome=ANSWERED)
    order.process.call("ship")
    stored = order.store._sagas[order.saga_id]  # type: ignore[attr-defined]  # it is the one in memory
    del stored.journal[2:]
    stored.journal.reached = None
    cancel(order.store, order.definitions, order.saga_id, CancelRequest(reason="called"), surface="cli")
    order.finish("ship")
    [row] = order.store.find(SagaFilter(halt_reason=HaltReason.JOURNAL_DAMAGED), 1)
    for books, past in ((late_books(order, shipped()), False), (None, True)):
        [left] = released(order.store, order.definitions, [row], books, is_past_return=past, **BY).left
        assert "its step of no return was done, and it would be rolled back over that" in left.why


def test_what_is_left_says_what_the_books_have(store: Store) -> None:
    """Beside what is to be found out."""
    [left] = Played(store, IGNORED).finish("pack").restored().reconciled(shipped()).left
    assert left.why.startswith("charge:a may have been sent, and club has no ledger to look at")
    assert left.why.endswith("its step of no return was done")


def test_books_that_say_both_are_for_a_person(store: Store) -> None:
    """No order is shipped and undone."""
    books = in_ledger("charge:c")
    books.add(Movement("carrier", 2, NOON, "POST /ships", key_of("ship:a"), "SO-1", "1", "", "bought", 1))
    [left] = Played(store, PLAIN).restored().reconciled(books).left
    assert left.why.startswith("no order of this program has both; its step of no return was done; ")
    assert left.why.endswith("the books have the undo of charge, so it was rolled back")


def test_an_undo_by_key_is_looked_up_where_its_action_is_not_sent_again(store: Store) -> None:
    """It left a tombstone at the key of its action: an order that sends it again rolls back by itself. One whose journal has the
    action as done would ship over it."""
    assert Played(store, BY_KEY).restored().reconciled().count == 1


def test_an_undo_by_key_of_what_is_done_is_looked_up(store: Store) -> None:
    """Its action is not sent again, so nothing would tell."""
    [left] = Played(store, BY_KEY).finish("pack").restored().reconciled().left
    assert "pack:c may have been sent, and carrier has no ledger" in left.why
    undone, kept = (Played(MemoryStore(), BY_KEY).finish("pack").restored() for _ in range(2))
    assert undone.reconciled(in_ledger("pack:c", "carrier")).count == 1
    assert state_of(undone.store, undone.definitions, undone.saga_id).status is SagaStatus.COMPENSATING
    assert kept.reconciled(Ledgers(frozenset({"carrier"}))).count == 1
    assert state_of(kept.store, kept.definitions, kept.saga_id).status is SagaStatus.RUNNING


@pytest.mark.parametrize("done", [("charge", "ship"), ("charge",)], ids=["past-return", "turned-round"])
def test_an_order_that_cannot_go_over_its_refund_is_let_go(store: Store, done: tuple[str, ...]) -> None:
    """Past the point of no return it was never rolled back; in its rollback it goes on there, and the refund is answered."""
    order = Played(store, PLAIN).finish(*done)
    if len(done) == 1:
        order.cancelled()
    assert order.restored().reconciled().count == 1


def test_what_the_journal_has_as_done_is_not_asked_for(store: Store) -> None:
    """A charge and its refund where keys are ignored, each with its outcome in the journal, while the rollback goes on."""
    order = Played(store, IGNORED).finish("pack", "charge").cancelled()
    order.finish("charge:c")
    assert state_of(store, order.definitions, order.saga_id).status is SagaStatus.COMPENSATING
    assert order.restored().reconciled().count == 1


def test_a_refund_where_keys_are_ignored_is_not_advised_to_be_made_again(store: Store) -> None:
    """A cancel would send it a second time."""
    [left] = Played(store, IGNORED).finish("pack", "charge").restored().reconciled(in_ledger("charge:c", "club")).left
    assert (f"key {key_of('charge:c')} in its books" in left.why, "saga cancel" in left.why) == (True, False)


def test_an_order_that_was_refunded_after_the_backup_is_not_shipped(store: Store) -> None:
    """Charged, cancelled, refunded, and the journal is of before all that. It rolls back again, is answered
    what was done, and ends compensated with nothing charged and nothing shipped."""
    money, before = Bank(), Played(MemoryStore(), PLAIN)
    before.finish("charge", outcome=money.answer(before.process.call("charge"))).cancelled()
    before.finish("charge:c", outcome=money.answer(before.process.call("charge:c")))
    assert state_of(before.store, before.definitions, before.saga_id).status is SagaStatus.COMPENSATED
    order = Played(store, PLAIN, "w0").restored()
    store.close_worker("w0")
    assert order.reconciled(in_ledger("charge:c")).count == 1
    assert order.played_on(money) is SagaStatus.COMPENSATED
    assert (money.balance, key_of("ship:a") in money.kept) == (0, False)


def test_an_order_that_was_refunded_is_cancelled_where_there_are_no_books(store: Store) -> None:
    """As the advice says; a person answers for the ship. The backup knows neither the charge nor the refund: both are asked for
    again, and answered."""
    money, order = Bank(), Played(store, PLAIN, "w0").restored()
    money.kept = {key_of(node): ANSWERED for node in ("charge:a", "charge:c")}
    store.close_worker("w0")
    asked = CancelRequest(reason="was refunded")
    assert cancel(store, order.definitions, order.saga_id, asked, surface="cli").standing is CancelStanding.HELD
    assert order.reconciled().left[0].why.startswith("ship:a may have been sent, and carrier has no ledger")
    assert let_go(store, order.definitions, order.saga_id, **BY)
    assert order.played_on(money) is SagaStatus.COMPENSATED
    assert (money.balance, key_of("ship:a") in money.kept) == (0, False)


def test_what_was_shipped_is_not_rolled_back_by_a_cancel(store: Store) -> None:
    """The carrier's books have the step of no return that the backup does not know: the order goes forward, and the cancel comes too
    late, also one that is asked for before the step is sent again."""
    order = Played(store, BY_KEY, "w0").finish("pack").restored()
    cancel(store, order.definitions, order.saga_id, CancelRequest(reason="too slow"), surface="cli")
    store.close_worker("w0")
    assert order.reconciled(in_ledger("ship:a", "carrier")).count == 1
    assert state_of(store, order.definitions, order.saga_id).is_cancel_refused
    assert order.played_on(Bank()) is SagaStatus.COMPLETED


def test_a_cancel_between_letting_go_and_the_next_send_leaves_nothing_behind(store: Store) -> None:
    """The label was lost from the journal, and is undone by its derived key."""
    order = Played(store, LABELLED, "w0").finish("pack").restored()
    store.close_worker("w0")
    assert order.reconciled(in_ledger("label:a", "carrier")).count == 1
    asked = CancelAsked(store.clock(), "anna", "customer called")
    tell(store, order.definitions, order.saga_id, asked, actor="api")
    carrier_side = Bank()
    assert order.played_on(carrier_side) is SagaStatus.COMPENSATED
    assert carrier_side.undone == [key_of("label:a"), key_of("pack:a")]


def test_a_held_journal_that_lost_entries_since_is_not_let_go() -> None:
    """A comparison with ledgers does not answer for what the journal lacks; only a person does."""
    store = MemoryStore()
    order = Played(store, BY_KEY).restored()
    del store._sagas[order.saga_id].journal[-1:]
    [left] = order.reconciled().left
    assert "its saga row remembers entry 3, and the journal has 2" in left.why
    del store._sagas[order.saga_id].journal[:]
    assert order.reconciled().count == 0
    assert [row.saga_id for row in held(store)] == [order.saga_id]
