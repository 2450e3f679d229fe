"""Pages for a terminal and the look-up of sagas, over a real store in memory and sagas that really ran."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, compensatable, pivot
from saga.core.states import SagaStatus
from saga.errors import Rejected, SagaNotFound, UsageError
from saga.runtime.engine import Definitions, fold
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.worker import Worker
from saga.store.memory import MemoryStore
from saga.store.port import EffectRow, SagaFilter, SagaRow, Store
from saga.surfaces import render
from saga.surfaces.draining import left_of, stops_by
from saga.surfaces.effects import effects_table, read_effects
from saga.surfaces.lookup import look_up, pages
from saga.surfaces.reading import read_row
from saga.surfaces.reading_journal import read_journal
from saga.surfaces.saga_page import saga_page
from saga.surfaces.showing import Shown, look_at
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str


class Held(BaseModel):
    hold_id: str


class Paid(BaseModel):
    pay_id: str


def hold(order: Order) -> Held:
    if "broken" in order.order_id:
        raise ValueError("no such shelf")
    return Held(hold_id=order.order_id)


def let_go(held: Held) -> None:
    """Nothing is really held."""


def pay(order: Order, held: Held) -> Paid:
    if "declined" in order.order_id:
        raise Rejected("declined")
    return Paid(pay_id=held.hold_id)


PLACE = Saga(
    "place",
    version=3,
    input=Order,
    entity=lambda order: order.order_id,
    steps=[compensatable(hold, compensation=let_go, keys="serialise"), pivot(pay, keys="serialise")],
)
ORDERS = ("SO-1", "SO-2-declined", "SO-10", "XY-broken")


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """Four sagas that ran to where they can come: completed, compensated, completed, halted with a defect."""
    made, definitions = MemoryStore(), Definitions([PLACE])
    starter = Starter(made, environment="test", tenant="default")
    worker = Worker(made, definitions, Executor(str, made.clock))
    worker.start()
    for order_id in ORDERS:
        starter.start(PLACE, Order(order_id=order_id))
    wait_until(lambda: left_of(made, definitions).moving_count == 0, 20)
    assert worker.stop()
    starter.stop()
    yield made
    made.close()


def look(store: Store, order_id: str, *, with_definition: bool = True) -> Shown:
    row = look_up(store, order_id)
    return look_at(store, row, [PLACE] if with_definition else [], Path("nowhere"))


def page(store: Store, order_id: str, *, with_definition: bool = True) -> str:
    return saga_page(look(store, order_id, with_definition=with_definition))


def test_look_up(store: Store) -> None:
    """A whole name goes before a prefix; a prefix of one entity is enough; of several, they are named."""
    assert look_up(store, "SO-1").entity == "SO-1"
    assert look_up(store, "SO-2").entity == "SO-2-declined"
    row = look_up(store, "XY")
    assert look_up(store, row.saga_id).entity == "XY-broken"
    with pytest.raises(UsageError, match="SO-1, SO-10, SO-2-declined"):
        look_up(store, "SO-")
    for nothing in ("", "ZZ", "SO-1\x00", "%"):
        with pytest.raises(SagaNotFound):
            look_up(store, nothing)


def test_what_is_left(store: Store) -> None:
    """A halted saga waits for a person; without its definition a live one is somebody else's."""
    left = left_of(store, Definitions([PLACE]))
    assert (left.moving_count, left.foreign_count, left.waiting_count) == (0, 0, 1)
    assert list(left.reasons) == ["halted (defect), waits for a person: saga list --status halted"]


def test_a_stop_belongs_to_whoever_wrote_it(store: Store) -> None:
    """Ends and halts are counted for their writer, of the sagas that were seen and of those accepted since; what a
    process did not write it did not do."""
    rows = list(pages(store, SagaFilter()))
    writers = {store.load([row.saga_id])[row.saga_id][-1].writer for row in rows}
    everything = {SagaStatus.COMPLETED: 2, SagaStatus.COMPENSATED: 1, SagaStatus.HALTED: 1}
    later = store.now()
    assert len(writers) == 1
    assert stops_by(writers, store, [row.saga_id for row in rows], later) == everything
    assert stops_by(writers, store, [], min(row.accepted_at for row in rows)) == everything
    assert stops_by(writers, store, [], later) == {}
    assert stops_by({"somebody else"}, store, [row.saga_id for row in rows], later) == {}


def test_pages_walk_through_everything(store: Store) -> None:
    """Every saga once, newest first."""
    found = [row.entity for row in pages(store, SagaFilter())]
    assert sorted(found) == sorted(ORDERS)


def test_a_compensated_saga(store: Store) -> None:
    """Why it turned, what was undone in which place, and what it was called."""
    text = page(store, "SO-2-declined")
    assert "SO-2-declined   COMPENSATED   pay rejected: declined   place v3" in text
    assert "1st compensated" in text
    assert "REJECTED" in text


def test_a_halted_saga_says_that_a_person_must_come(store: Store) -> None:
    """The reason, the step and the detail stand in the head."""
    text = page(store, "XY-broken")
    assert "HALTED   defect at hold: ValueError: no such shelf" in text
    assert "waits for a person (defect); nothing is moving and nothing is lost" in text
    assert "not started" in text
    assert "no command of this release moves it" in text


def test_a_long_reason_is_printed_whole(store: Store) -> None:
    """The head has room for the beginning of a detail; a person who must decide reads all of it, in lines that fit."""
    found = look(store, "XY-broken")
    reason = "no such shelf " * 20
    assert found.saga.halt is not None
    halt = found.saga.halt.model_copy(update={"detail": reason})
    text = saga_page(replace(found, saga=found.saga.model_copy(update={"halt": halt})))
    assert " ".join(text.split()).count("no such shelf") >= 20
    assert max(map(len, text.splitlines())) <= 100


def test_pages_fit_and_need_no_definition(store: Store) -> None:
    """At most 100 columns; without the definition kinds are dashes and the page still stands."""
    for order_id in ORDERS:
        assert max(map(len, page(store, order_id).splitlines())) <= 100
    assert "compensatable" not in page(store, "SO-1", with_definition=False)


def test_what_can_be_typed_now(store: Store) -> None:
    """A halted saga names those that are alike. A cancel is named where it would roll the saga back (`test_advice.py`): of these
    nowhere, whether the definition is at hand or not."""
    assert "saga list --status halted --reason defect" in page(store, "XY-broken")
    assert not [it for it in ORDERS if "saga cancel" in page(store, it)]
    assert look(store, "XY-broken", with_definition=False).can_cancel is False
    assert "saga cancel" not in page(store, "XY-broken", with_definition=False)


def test_the_fold_is_held_against_the_row(store: Store) -> None:
    """ "fold = state" is a finding: a row that says otherwise than the journal is told with what to type."""
    row = look_up(store, "SO-1")
    wrong = _Wrong(store, replace(row, status=SagaStatus.RUNNING))
    assert "fold = state" in page(store, "SO-1")
    text = saga_page(look_at(wrong, wrong.wrong, [PLACE], Path("nowhere")))
    assert "fold ≠ state" in text
    assert "✗ the saga row says running, and the fold of the journal completed: saga audit" in text


class _Wrong:
    """A store one of whose rows was written by somebody else."""

    def __init__(self, store: Store, wrong: SagaRow) -> None:
        self.store, self.wrong = store, wrong

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def row(self, _saga_id: str) -> SagaRow:
        return self.wrong


def test_journal_and_list(store: Store) -> None:
    """A line per transition, a number per entry; a line per saga."""
    row = look_up(store, "SO-2-declined")
    text = render.journal_page(read_journal(row.saga_id, store.load([row.saga_id])[row.saga_id]))
    assert "plan_frozen" in text
    assert "entries=hold" in text
    assert text.splitlines()[-1].split()[1] == "saga_compensated"
    listed = render.saga_list([read_row(one) for one in pages(store, SagaFilter())])
    assert "defect" in listed
    assert "place v3" in listed
    assert render.saga_list([]) == "no sagas"


def test_effects_are_netted_by_kind_and_unit(store: Store) -> None:
    """What was done, what was undone, what is left, in the units of a person; a rollback that leaves something says so."""
    row = look_up(store, "SO-2-declined")
    state, _, _ = fold(store.load([row.saga_id])[row.saga_id])
    stock = [EffectRow("hold:a", "stock", "MUG", 3, 1), EffectRow("hold:c", "stock", "MUG", 3, -1)]
    money = EffectRow("pay:a", "money", "JPY", 8240, 1)
    even = effects_table(read_effects(stock, state), SagaStatus.COMPENSATED)
    assert next(line for line in even.splitlines() if "MUG" in line).split()[:5] == ["stock", "MUG", "+3", "-3", "0"]
    assert even.endswith("✓ nets to zero")
    left = effects_table(read_effects([*stock, money], state), SagaStatus.COMPENSATED)
    assert "¥8,240" in left
    assert left.endswith("✗ does not net to zero")
    assert "nets" not in effects_table(read_effects([money], state), SagaStatus.COMPLETED)
    assert effects_table([], SagaStatus.COMPENSATED) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, render.DASH), (0.0414, "41 ms"), (2.71, "2.7 s"), (600, "10 min"), (18_000, "5 h"), (532_800, "6 d 04 h")],
)
def test_durations(seconds: float | None, text: str) -> None:
    """One unit for each size."""
    assert render.duration(seconds) == text
