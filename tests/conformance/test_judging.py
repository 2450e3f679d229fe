"""What books show of one held saga, and when they show it: traces in which an attack found money after a restore."""

from datetime import timedelta
from typing import Any

import pytest

from saga.core.connector import Call
from saga.core.definition import Saga, compensatable, pivot, readonly, retriable
from saga.core.events import CancelAsked
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions, tell
from saga.store.memory import MemoryStore
from saga.surfaces.ledgers import BarrierRow, Ledgers
from saga.surfaces.restoring import Books, Moved, held, released
from tests.conformance.test_reconciling import (
    ANSWERED,
    BY,
    CHARGED,
    IGNORED,
    LATE_S,
    NOON,
    Bank,
    Charged,
    Order,
    Packed,
    Played,
    Refunded,
    at_bank,
    back_at_bank,
    bank,
    charge_at_club,
    do_label,
    do_pack,
    in_ledger,
    key_of,
    late_books,
    refund_at_club,
    ship,
    shop,
    unlabel,
    unpack,
)
from tests.simulation.stepping import state_of
from tests.simulation.world import VirtualClock

CLUB = shop(
    compensatable(do_label, name="label", compensation=unlabel),
    compensatable(charge_at_club, name="charge", compensation=refund_at_club, on_unknown="halt"),
    compensatable(do_pack, name="pack", compensation=unpack),
    pivot(ship),
)
NO = Outcome(OutcomeCode.REJECTED, "declined")


def price(order: Order) -> Packed:
    return Packed(ref=order.order_id)


def charge(order: Order) -> Call[Charged]:
    return at_bank(order)


def refund(charged: Charged, _price: Packed) -> Call[Refunded]:
    return back_at_bank(charged)


def pack(order: Order) -> Call[Any]:
    return do_pack(order)


do_points = bank.post("/points", Order, Refunded)
do_commit = bank.post("/commit", Order, Refunded)


def points(order: Order) -> Call[Refunded]:
    return do_points(order)


PRICED = shop(readonly(price), compensatable(charge, compensation=refund))


def books_of(*nodes: str, services: tuple[str, ...] = ("club", "carrier", "payment")) -> Ledgers:
    """Books of these participants that have these nodes."""
    found = Ledgers(frozenset(services))
    for node in nodes:
        found.add(next(iter(in_ledger(node).by_key.values()))[0])
    return found


def let_go(order: Played, books: Ledgers | None, is_past_return: bool = False, is_not_done: bool = False) -> Moved:
    given = None if books is None else late_books(order, books)
    said = {"is_past_return": is_past_return, "is_not_done": is_not_done}
    return released(order.store, order.definitions, held(order.store), given, **BY | said)


def restored_cancelled(definition: Saga[Any]) -> Played:
    """Cancelled while it was held."""
    order = Played(MemoryStore(VirtualClock()), definition, "w0").restored()
    asked = CancelAsked(order.store.clock(), "anna", "called")
    tell(order.store, order.definitions, order.saga_id, asked, actor="api")
    order.store.close_worker("w0")
    return order


def test_a_charge_that_its_rollback_would_not_undo_is_not_let_go() -> None:
    """The books have the charge, keys are ignored there, and a plan of this journal has no charge. With its refund in the books too there
    is nothing left to undo."""
    order = restored_cancelled(CLUB)
    [left] = let_go(order, books_of("label:a", "charge:a")).left
    assert left.why == "charge was done, and its rollback would not undo it; leave it halted and end it by hand"
    assert let_go(order, books_of("label:a", "charge:a", "charge:c")).count == 1
    assert order.played_on(Bank()) is SagaStatus.COMPENSATED


def test_a_refund_that_is_in_the_books_is_not_in_the_way() -> None:
    """Charge and refund are there, so it was rolled back: what is left of that is done, and neither of them again."""
    order = Played(MemoryStore(), CLUB, "w0").restored()
    order.store.close_worker("w0")
    assert let_go(order, books_of("charge:a", "charge:c")).count == 1
    order.played_on(club := Bank())
    assert not {key_of("charge:a"), key_of("charge:c")} & club.kept.keys()


@pytest.mark.parametrize("has_books", [False, True], ids=["no books", "books"])
def test_a_card_is_not_charged_to_be_refunded(has_books: bool) -> None:
    """Cancelled before its charge: books show that it was not made. Without them the refund could not be made, since it asks for a
    price that the journal lacks: a person looks, and the card is not charged for the first time."""
    order = Played(MemoryStore(VirtualClock()), PRICED, "w0").restored()
    assert let_go(order, books_of() if has_books else None).count == 1
    asked = CancelAsked(order.store.clock(), "anna", "called")
    tell(order.store, order.definitions, order.saga_id, asked, actor="api")
    order.store.close_worker("w0")
    status, money = order.played_on(side := Bank()), side.balance
    assert (status, money) == ((SagaStatus.COMPENSATED if has_books else SagaStatus.HALTED), 0)


def test_a_refusal_that_is_recorded_hides_no_ship() -> None:
    """The points were refused, which holds nothing up, and it was shipped at a carrier without books: a cancel comes too late."""
    no_pivot = shop(
        compensatable(do_pack, name="pack", compensation=unpack),
        retriable(points, on_rejected="record"),
        retriable(ship),
    )
    order = Played(MemoryStore(), no_pivot, "w0").restored()
    books, key = Ledgers(frozenset({"payment"})), key_of("points:a")
    books.barrier[key] = [BarrierRow("payment", 1, NOON, "POST /points", key, "SO-1", "action", "rejected")]
    order.store.close_worker("w0")
    assert order.reconciled(books).count == 1
    assert state_of(order.store, order.definitions, order.saga_id).may_be_past_return


@pytest.mark.parametrize("is_said", [False, True], ids=["the books say it", "a person says it"])
def test_the_ship_proves_the_charge(is_said: bool) -> None:
    """A charge where keys are ignored, and no books, stands before a ship that was done: it was made, and is not made again."""
    before = shop(
        compensatable(charge_at_club, name="charge", compensation=refund_at_club, on_unknown="halt"), pivot(ship)
    )
    order = Played(MemoryStore(VirtualClock()), before, "w0").restored()
    books = None if is_said else books_of("ship:a", services=("carrier",))
    [left] = let_go(order, books, is_past_return=is_said).left
    assert "charge:a was done, and would be done again: its participant ignores keys" in left.why


def test_a_rollback_over_a_ship_in_the_books_is_not_let_go() -> None:
    """The journal had turned round, and the carrier has it: no book-keeping makes that right, and neither command goes on."""
    order = Played(MemoryStore(VirtualClock()), CLUB, "w0").finish("label").finish("charge", outcome=NO).restored()
    for moved in (order.reconciled(books_of("ship:a")), let_go(order, books_of("ship:a"))):
        [left] = moved.left
        assert "its step of no return was done, and it would be rolled back over that" in left.why


def test_a_step_behind_the_ship_proves_the_ship() -> None:
    """The carrier has no books, and the bank's have what comes after it."""
    behind = shop(
        compensatable(do_pack, name="pack", compensation=unpack), pivot(ship), retriable(do_commit, name="commit")
    )
    order = Played(MemoryStore(), behind, "w0").restored()
    assert order.reconciled(books_of("commit:a", services=("payment",))).count == 1
    assert state_of(order.store, order.definitions, order.saga_id).is_past_return


def test_a_ship_whose_success_came_late_is_not_forgotten() -> None:
    """Its outcome is written between the look at the books and the let-go, which says that it is absent."""
    store = MemoryStore(VirtualClock())
    order = Played(store, shop(compensatable(do_pack, name="pack", compensation=unpack), pivot(ship)), "w0")
    order.finish("pack").restored()
    late = order.process.call("ship")

    class Slow(Definitions):
        """Whoever judges the order asks here, after he has read its journal."""

        def get(self, name: str, version: int) -> Saga[Any] | None:
            if late in order.process.calls:
                order.process.finish(late, ANSWERED)
                order.process.settle()
            return super().get(name, version)

    slow = Slow(order.definitions)
    late_books = Books(books_of(), store.now() + timedelta(seconds=LATE_S))
    moved = released(store, slow, held(store), late_books, **BY)
    assert (moved.count, state_of(store, order.definitions, order.saga_id).node("ship:a").phase) == (1, "done")


def test_another_code_under_the_same_version_is_named_and_stops_no_other() -> None:
    """A step was renamed after `restored`: one saga cannot be judged, and the next is."""
    order = Played(MemoryStore(), CLUB, "w0").finish("label").restored()
    renamed = shop(
        compensatable(do_label, name="sticker", compensation=unlabel), pivot(ship), retriable(do_commit, name="commit")
    )
    order.definitions = Definitions([renamed])
    for moved in (order.reconciled(), let_go(order, None)):
        [left] = moved.left
        assert "the definition shop v1 at hand is another than it was accepted with" in left.why


def test_past_return_is_not_said_of_a_saga_that_has_none() -> None:
    """Nothing would ever turn it round, and its first "no" would stand for ever."""
    order = Played(MemoryStore(), shop(compensatable(do_pack, name="pack", compensation=unpack)), "w0").restored()
    [left] = let_go(order, None, is_past_return=True).left
    assert left.why == "it has no step of no return: let it go without --past-return"


def in_the_air() -> Played:
    """The backup has the claim of a charge where keys are ignored."""
    order = Played(MemoryStore(VirtualClock()), IGNORED, "w0").finish("pack").restored()
    order.store.close_worker("w0")
    return order


def test_what_was_sent_is_answered_for_in_words_of_its_own() -> None:
    """That nothing else was done does not say what came of the attempt that the journal has: it would end before a person."""
    order = in_the_air()
    [left] = let_go(order, None).left
    assert left.why == (
        "charge:a was sent and nobody knows what came of it: if it was not done, say --not-done; else leave it halted"
    )
    assert let_go(order, None, is_not_done=True).count == 1
    assert order.played_on(Bank()) is SagaStatus.COMPLETED


@pytest.mark.parametrize("has_books", [False, True], ids=["a person", "books"])
def test_what_failed_without_an_answer_is_sent_again(has_books: bool) -> None:
    """The backup has it halted for a person: now it is known that it was not done, and it goes on."""
    order = Played(MemoryStore(VirtualClock()), IGNORED, "w0").finish("pack")
    order.finish("charge", outcome=Outcome(OutcomeCode.UNKNOWN, "time-out")).restored()
    if has_books:
        assert order.reconciled(books_of()).count == 1
    else:
        assert let_go(order, None, is_not_done=True).count == 1
    assert order.played_on(Bank()) is SagaStatus.COMPLETED


def test_a_plan_of_before_the_backup_undoes_nothing_that_was_not_done() -> None:
    """It says to ask the bank again, and the bank's books do not have it: there is nothing to refund."""
    order = Played(MemoryStore(VirtualClock()), shop(CHARGED, pivot(ship)), "w0")
    asked = CancelAsked(order.store.clock(), "anna", "called")
    tell(order.store, order.definitions, order.saga_id, asked, actor="api")
    order.finish("charge", outcome=Outcome(OutcomeCode.UNKNOWN, "time-out"))
    plan = state_of(order.store, order.definitions, order.saga_id).plan
    assert [(entry.step, entry.mode) for entry in plan or ()] == [("charge", "repeat")]
    order.restored()
    order.store.close_worker("w0")
    assert order.reconciled(books_of()).count == 1
    status, kept = order.played_on(side := Bank()), side.kept
    assert (status, kept) == (SagaStatus.COMPENSATED, {})


def test_books_answer_for_what_was_sent() -> None:
    """Once nothing can be on its way any more it is sent again by itself."""
    order = in_the_air()
    assert order.reconciled(books_of()).count == 1
    assert order.played_on(Bank()) is SagaStatus.COMPLETED


def test_what_is_not_held_is_not_let_go() -> None:
    """Whatever it has in the air."""
    order = Played(MemoryStore(), IGNORED, "w0").finish("pack")
    rows = [row for row in [order.store.row(order.saga_id)] if row]
    [left] = released(order.store, order.definitions, rows, None, **BY).left
    assert left.why == "it is running and not held"
