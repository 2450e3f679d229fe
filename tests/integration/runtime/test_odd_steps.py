"""Whatever a step does, raises or returns is a matter of its own saga: the process goes on and the neighbours complete, under
both drivers; and what stands in the journal then can be read by everybody."""

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from saga.core.connector import Call, Connector
from saga.core.definition import Saga, compensatable, pivot, readonly
from saga.core.fold import NodeState, SagaState
from saga.core.outcomes import EffectChange, Outcome, OutcomeCode, Payload
from saga.core.projection import Projection
from saga.core.states import HaltReason, SagaStatus
from saga.errors import DefinitionError, NotSent, Rejected, StepError, Throttled, Unknown
from saga.runtime.engine import Definitions, fold
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.task import TaskWorker
from saga.runtime.work import Call as Attempt
from saga.runtime.work import Limits
from saga.runtime.worker import Worker
from saga.store.codec import PAYLOAD_MAX
from saga.store.memory import MemoryStore
from saga.surfaces.attempts import in_words
from saga.surfaces.reading import read_saga
from saga.surfaces.reading_journal import read_journal
from saga.words import LIMIT
from tests.property.definitions import TIMES
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    text: str = ""
    number: float = 0.0


class Lying(Exception):
    """An exception nothing of which can be believed."""

    __class__: Any = property(lambda _: sys.exit("no class"))

    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class Endless(Exception):
    def __str__(self) -> str:
        return str(self)


class Untold(Rejected):
    def __init__(self) -> None:
        """Without the code of the class above."""


class Raising(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")

    def __instancecheck__(cls, _: object) -> bool:
        raise MemoryError("no instances")


class Nameless(Exception, metaclass=Raising):
    pass


class Unequal(Done):
    def __eq__(self, other: object) -> bool:
        raise GeneratorExit

    __hash__ = None  # type: ignore[assignment]


class Unsaid(Done):
    def model_dump_json(self, **_: Any) -> str:
        return 7  # type: ignore[return-value]


def deep(depth: int = 0) -> Any:
    return deep(depth + 1)


def leave() -> Any:
    sys.exit(3)


BEHAVIOURS: dict[str, Callable[[], Any]] = {}
"""By the order's id: what its odd step does."""
MEANT: dict[str, Any] = {}
"""By the order's id: what `classify` gives for its exception."""
_here = threading.local()
_numbers = count(1)


def odd(order: Order) -> Done:
    _here.order_id = order.order_id
    result: Done = BEHAVIOURS[order.order_id]()
    return result


def classify(_error: Exception) -> Outcome | None:
    meant = MEANT.get(_here.order_id)
    return meant() if callable(meant) else meant


participant = Connector("participant", keys="serialise", remembers_rejections=True)
do_it = participant.post("/it", Order, Done)


def asks_oddly(order: Order) -> Call[Done]:
    call: Call[Done] = BEHAVIOURS[order.order_id]()
    return call


def face(state: SagaState) -> Any:
    return BEHAVIOURS.get(f"face {state.entity}", lambda: state.status)()


def calm(_order: Order) -> Done:
    return Done()


def _entity(order: Order) -> str:
    return order.order_id


kept = Projection(
    "odd_orders", ("order_id",), {"order_id": "text", "n": "bigint"}, face, lambda _: {"order_id": "x", "n": 1}
)
ODD = Saga("odd", 1, Order, _entity, [readonly(odd, rejects=(LookupError,), classify=classify)], on_change=kept)
ODD_REJECTS = Saga("odd_rejects", 1, Order, _entity, [readonly(odd, rejects=(Nameless,))])
ODD_CALL = Saga("odd_call", 1, Order, _entity, [pivot(asks_oddly, operation=do_it)])
CALM = Saga("calm", 1, Order, _entity, [readonly(calm), readonly(calm, name="calm_again")])
DEFINITIONS = Definitions([ODD, ODD_REJECTS, ODD_CALL, CALM])


def raising(error: Any) -> Callable[[], Any]:
    def behave() -> Any:
        raise error

    return behave


def giving(value: Any) -> Callable[[], Any]:
    return lambda: value


def raised_by(make: Callable[[], BaseException]) -> Callable[[], Any]:
    """A step that raises one anew each time. Only functions are drawn: the search shows what it has drawn, and nothing of these
    exceptions can be shown."""

    def behave() -> Any:
        raise make()

    return behave


UNTELLABLE = (
    lambda: Lying(), lambda: Endless(), lambda: Untold(), lambda: Nameless("n"),  # noqa: PLW0108  a function can be shown
    lambda: KeyboardInterrupt(), lambda: SystemExit(3), lambda: GeneratorExit(), lambda: StepError("bare"),  # noqa: PLW0108
    lambda: StopIteration(), lambda: MemoryError(), lambda: RecursionError(), lambda: KeyError("k"),  # noqa: PLW0108
    lambda: OSError(5, "x"), lambda: ExceptionGroup("g", [Lying()]),
)  # fmt: skip
TEXTS = st.text(max_size=30) | st.sampled_from(["\ud800", "\x00", "a\nb\u202e", "x" * 100_000])
THINGS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=4) | st.builds(object)
ERRORS = st.sampled_from([raised_by(make) for make in UNTELLABLE]) | st.builds(
    lambda kind, thing: raised_by(lambda: kind(thing)),
    st.sampled_from([ValueError, Rejected, Throttled, NotSent, Unknown]),
    THINGS,
)
OUTCOMES = st.builds(
    Outcome,
    code=st.sampled_from(OutcomeCode) | THINGS,
    detail=TEXTS | THINGS,
    result=st.none() | st.builds(Payload, TEXTS) | THINGS,
    effects=st.none() | st.just((EffectChange("k", "u", 1, 1),)) | st.tuples(THINGS) | THINGS,
    retry_after_s=st.floats() | THINGS,
    until_at=THINGS,
)
GIVEN = THINGS.map(giving) | st.sampled_from(
    [
        giving(it)
        for it in (Unequal(), Unsaid(), Done(number=float("nan")), Done(text="\ud800"), iter(()), Order(order_id="x"))
    ]
)
STEPS = ERRORS | GIVEN | st.builds(Done, text=TEXTS).map(giving) | st.sampled_from([deep, leave])
CASES = st.tuples(
    STEPS, OUTCOMES | THINGS | ERRORS, st.sampled_from([ODD, ODD, ODD_REJECTS, ODD_CALL]), st.none() | STEPS
)


@contextmanager
def around(call: Attempt) -> Iterator[Callable[[Outcome], None]]:
    """What stands around an attempt of an odd step breaks too, now and then."""
    is_odd = call.saga.name == "odd" and call.epoch == 1
    if is_odd and call.state.entity.endswith("3"):
        raise SystemExit("a receiver of task_prerun")
    yield lambda _outcome: None
    if is_odd and call.state.entity.endswith("7"):
        raise KeyboardInterrupt("a receiver of task_postrun")


class Book:
    """A store with odd sagas and their neighbours, accepted in turn."""

    def __init__(self, cases: list[Any]) -> None:
        self.store = MemoryStore()
        self.odd: list[str] = []
        self.neighbours: list[str] = []
        starter = Starter(self.store, environment="test", tenant="test")
        for behave, meant, saga, looks in cases:
            order_id = f"SO-{next(_numbers)}"
            BEHAVIOURS[order_id], MEANT[order_id] = behave, meant
            if looks is not None:
                BEHAVIOURS[f"face {order_id}"] = looks
            self.odd.append(starter.start(saga, Order(order_id=order_id)).saga_id)
            self.neighbours.append(starter.start(CALM, Order(order_id=f"N{order_id}")).saga_id)
        starter.stop()

    def state(self, saga_id: str) -> SagaState:
        return fold(self.store.load([saga_id])[saga_id])[0]

    def is_calm(self) -> bool:
        """Every neighbour completed, and every odd step was tried."""
        are_done = all(self.state(it).status is SagaStatus.COMPLETED for it in self.neighbours)
        return are_done and all(any(node.ended_at for node in self.state(it).nodes.values()) for it in self.odd)

    def check(self) -> None:
        for saga_id in self.odd:
            entries = self.store.load([saga_id])[saga_id]
            state = self.state(saga_id)
            read_journal(saga_id, entries).model_dump_json().encode()
            read_saga(state, entries[-1].seq, DEFINITIONS.get(state.definition, 1)).model_dump_json().encode()
            for node in state.nodes.values():
                assert node.detail.isprintable()
                assert len(node.detail) <= 2 * LIMIT


def no_address(_connector: str) -> str:
    return "http://127.0.0.1:9"


@pytest.mark.parametrize("is_before", [True, False])
def test_a_receiver_that_raises_ends_no_thread(is_before: bool) -> None:
    """Before the call nothing was sent, after it the outcome is what it was: it is written, and the thread takes the next."""
    book, raised = Book([]), []
    starter = Starter(book.store, environment="test", tenant="test")
    book.neighbours = [starter.start(CALM, Order(order_id=f"R-{next(_numbers)}")).saga_id for _ in range(3)]
    starter.stop()

    @contextmanager
    def receiving(call: Attempt) -> Iterator[Callable[[Outcome], None]]:
        is_first = call.epoch == 1 and call.node == "calm:a"
        if is_before and is_first:
            raised.append(call)
            raise SystemExit("task_prerun")
        yield lambda _outcome: None
        if is_first:
            raised.append(call)
            raise KeyboardInterrupt("task_postrun")

    executor, broken = Executor(no_address, book.store.clock), threading.Event()
    worker = Worker(
        book.store, DEFINITIONS, executor, limits=Limits(slots=2, threads=2), around=receiving, broken=broken.set
    )
    worker.start()
    try:
        wait_until(lambda: broken.is_set() or book.is_calm(), 20, what="the neighbours")
        assert (broken.is_set(), len(raised)) == (False, 3)
    finally:
        worker.stop()


@settings(max_examples=8 * TIMES, deadline=None, phases=[Phase.generate])
@given(st.lists(CASES, min_size=20, max_size=20))
def test_the_process_driver_outlives_every_step(cases: list[Any]) -> None:
    """Its threads are whole, its neighbours complete, and each odd saga has an outcome that can be read."""
    book, broken = Book(cases), threading.Event()
    worker = Worker(
        book.store,
        DEFINITIONS,
        Executor(no_address, book.store.clock),
        limits=Limits(slots=8, threads=3),
        around=around,
        broken=broken.set,
    )
    worker.start()
    try:
        worker.wake([*book.odd, *book.neighbours])
        wait_until(book.is_calm, 20, what="the neighbours")
        assert not broken.is_set()
    finally:
        worker.stop()
    book.check()


@settings(max_examples=8 * TIMES, deadline=None, phases=[Phase.generate])
@given(st.lists(CASES, min_size=20, max_size=20))
def test_the_task_driver_outlives_every_step(cases: list[Any]) -> None:
    """The body of a task returns, with an outcome that is durable; the next message is run as ever."""
    book = Book(cases)
    nodes = {"odd": "odd:a", "odd_rejects": "odd:a", "odd_call": "asks_oddly:a"}
    worker = TaskWorker(
        book.store,
        DEFINITIONS,
        Executor(no_address, book.store.clock),
        queues=frozenset({"saga"}),
        publish=lambda _: None,
    )
    worker.start()
    try:
        for saga_id, neighbour in zip(book.odd, book.neighbours, strict=True):
            name = book.state(saga_id).definition
            worker.run(saga_id, name, nodes[name])
            worker.run(neighbour, "calm", "calm:a")
            worker.run(neighbour, "calm", "calm_again:a")
        assert book.is_calm()
    finally:
        worker.stop()
    book.check()


def ended(behave: Callable[[], Any], meant: Any = None) -> SagaState:
    """The saga of an odd step after its first attempt."""
    book = Book([(behave, meant, ODD, None)])
    worker = TaskWorker(
        book.store, DEFINITIONS, Executor(no_address, book.store.clock), queues=frozenset(), publish=lambda _: None
    )
    worker.start()
    try:
        worker.run(book.odd[0], "odd", "odd:a")
    finally:
        worker.stop()
    book.check()
    return book.state(book.odd[0])


@pytest.mark.parametrize(
    ("behave", "meant", "says"),
    [
        (raising(Rejected(409)), None, 'Rejected has the code 409, and a code is a text: write raise Rejected("out_of_stock")'),  # type: ignore[arg-type]
        (raising(Rejected({"a": 1})), None, "Rejected has the code {'a': 1}, and a code is a text"),  # type: ignore[arg-type]
        (raising(Untold()), None, "Untold has the code None, and a code is a text"),
        (raising(Lying()), None, "Lying: (its __str__ raised KeyboardInterrupt)"),
        (leave, None, "SystemExit: 3 (test_odd_steps.py:"),
        (deep, None, "RecursionError: maximum recursion depth exceeded"),
        (raising(ValueError("x")), "rejected", "ValueError: x; classify gave 'rejected'; it gives an Outcome, or None"),
        (raising(ValueError("x")), Outcome("rejected"), "classify gave an Outcome whose Outcome.code is of type str; it is OutcomeCode"),  # type: ignore[arg-type]
        (raising(ValueError("x")), raising(Lying()), "ValueError: x; and what it means cannot be told: Lying"),
        (giving(Done(number=float("nan"))), None, "odd: its result, number: it does not come back from JSON: Input should be a valid number"),
        (giving(Order(order_id="x")), None, "odd returned Order(order_id='x') instead of Done"),
        (giving(Done(text="x" * 30_000_000)), None, f"characters; a journal takes {PAYLOAD_MAX:,}. Return where it is kept instead"),
    ],
)  # fmt: skip
def test_what_no_journal_can_hold_is_a_defect_that_says_so(behave: Callable[[], Any], meant: Any, says: str) -> None:
    """Nobody knows what it was to mean, or whether it was done: a person is told what to write."""
    state = ended(behave, meant)
    assert (state.status, state.halt and state.halt.reason) == (SagaStatus.HALTED, HaltReason.DEFECT)
    assert says in state.node("odd:a").detail


@pytest.mark.parametrize("wait_s", ["x", float("nan"), -1, float("inf"), True])
def test_a_waiting_time_that_is_none_is_only_ignored(wait_s: Any) -> None:
    """The other side did no work, which is clear without it: the policy says how long is waited, and the journal says why."""
    state = ended(raising(Throttled(wait_s)))
    assert (state.status, state.node("odd:a").code) == (SagaStatus.RUNNING, OutcomeCode.THROTTLED)
    detail = state.node("odd:a").detail
    assert re.fullmatch(r"retry_after_s is \S+: no wait, so the policy's is taken", detail)
    assert in_words(detail) == detail, "a page shows it whole"


def test_a_step_that_only_made_work_has_not_done_it() -> None:
    """A function that promises nothing and returns a call sent nothing: it is no success."""

    def pays(order: Order) -> None:
        return do_it(order)  # type: ignore[return-value]

    saga = Saga("pays", 1, Order, _entity, [compensatable(pays, compensation=lambda: None, keys="serialise")])
    node = after_one(saga, "pays:a")
    assert (node.code, "and its annotation promises None" in node.detail) == (OutcomeCode.DEFECT, True)


def after_one(saga: Saga[Order], node: str) -> NodeState:
    """The node of a saga of that definition after its first attempt."""
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="test")
    saga_id = starter.start(saga, Order(order_id="SO-1")).saga_id
    starter.stop()
    worker = TaskWorker(
        store, Definitions([saga]), Executor(str, store.clock), queues=frozenset(), publish=lambda _: None
    )
    worker.start()
    worker.run(saga_id, saga.name, node)
    worker.stop()
    return fold(store.load([saga_id])[saga_id])[0].node(node)


@pytest.mark.parametrize(
    ("entity", "says"),
    [
        (lambda _: 5, r"saga calm: entity gave 5; it gives a text, such as str\(order\.number\)"),
        (
            lambda order: order.number,
            r"saga calm: entity raised AttributeError: .*'number'.* \(test_odd_steps\.py:\d+\)",
        ),
    ],
)
def test_an_entity_that_is_no_text_is_refused_at_the_start(entity: Any, says: str) -> None:
    """Nothing is stored, and the caller reads what to write."""
    starter = Starter(MemoryStore(), environment="test", tenant="test")
    try:
        with pytest.raises(DefinitionError, match=says):
            starter.start(Saga("calm", 1, Order, entity, [readonly(calm)]), Order(order_id="SO-1"))
    finally:
        starter.stop()
