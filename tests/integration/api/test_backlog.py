"""The backlog bound: new orders are refused before anything is stored, repeats are answered, and counting costs little."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import SagaStatus
from saga.errors import StoreUnavailable
from saga.store.memory import MemoryStore
from saga.surfaces.backlog import Backlog
from tests.integration.api.serving import opened, order_values, problem
from tests.waiting import wait_until

DECLINED = {"authorize_payment:a": Outcome(OutcomeCode.REJECTED, "declined")}


class _Counted(MemoryStore):
    """Notes how often its sagas are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> Mapping[SagaStatus, int]:
        self.times += 1
        return super().counts(since, until)


def test_above_the_bound_new_orders_are_refused() -> None:
    """503 with Retry-After and nothing stored; a repeat of an accepted order gets its kept answer, a second submission of it
    its 409; once the backlog is worked off, orders are taken again."""
    with opened(MemoryStore(), backlog_bound=3) as shop:
        ids = [shop.accepted(order_id=f"SO-{n}") for n in range(3)]
        answer = shop.post(order_values(order_id="SO-3"), key="new")
        assert "nothing was stored" in problem(answer, 503, "backlog")["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        assert len(shop.rows()) == 3
        again = shop.post(order_values(order_id="SO-0"), key="key-of-SO-0")
        assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
        problem(shop.post(order_values(order_id="SO-0"), key="another"), 409, "duplicate_order")
        problem(shop.post_text("{}", key="new"), 422, "invalid")
        shop.move(ids[0], DECLINED)
        taken = wait_until(
            lambda: (it := shop.post(order_values(order_id="SO-3"), key="new")).status_code == 202 and it, what="room"
        )
        assert taken
        assert "idempotency-replayed" not in taken.headers


def test_without_a_bound_nothing_is_counted() -> None:
    """The default."""
    store = _Counted()
    with opened(store) as shop:
        for number in range(20):
            shop.accepted(order_id=f"SO-{number}")
    assert store.times == 0


def is_full(backlog: Backlog) -> bool:
    """Whether another order would be refused now."""
    if not backlog.enter():
        return True
    backlog.settle(is_new=False)
    return False


def accept(backlog: Backlog) -> None:
    """An order that is accepted whatever the bound says."""
    assert backlog.enter(is_forced=True)
    backlog.settle(is_new=True)


def test_a_count_serves_for_a_second() -> None:
    """A hundred questions at once are one count, and what is accepted meanwhile is added to it."""
    store = _Counted()
    backlog = Backlog(store, 5)
    for _ in range(100):
        assert not is_full(backlog)
    assert store.times == 1
    for _ in range(5):
        accept(backlog)
    assert is_full(backlog)
    assert store.times == 1
    wait_until(lambda: not is_full(backlog), what="the next count")
    assert store.times == 2


class _Slow(_Counted):
    """While its sagas are counted, and after it has looked at them, something happens."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> Mapping[SagaStatus, int]:
        found = super().counts(since, until)
        self._meanwhile()
        return found


def test_what_is_accepted_during_a_count_is_added_to_it() -> None:
    """A burst does not slip through: the count has not seen these orders, so they stand beside it until the next one; those
    that were accepted before it began are in it, and do not."""

    def burst() -> None:
        for _ in range(3 if store.times == 2 else 0):
            accept(backlog)

    store = _Slow(burst)
    backlog = Backlog(store, 3)
    accept(backlog)
    wait_until(lambda: is_full(backlog), what="the count with the burst")
    assert store.times == 2
    wait_until(lambda: not is_full(backlog), what="the next count")
    assert store.times == 3


def test_a_burst_takes_no_more_places_than_there_are() -> None:
    """Sixty orders at once, each in its transaction when the next comes: as many places as the bound has are given, also while
    nothing was counted yet; what was refused by the store gives its place back."""
    backlog = Backlog(_Counted(), 5)
    with ThreadPoolExecutor(60) as pool:
        taken = [it for it in pool.map(lambda _: backlog.enter(), range(60)) if it]
    assert len(taken) == 5
    for _ in taken:
        backlog.settle(is_new=False)
    assert not is_full(backlog)


def test_a_burst_of_orders_stays_below_the_bound() -> None:
    """The same through the door, thirty at a time."""
    store = MemoryStore()
    with opened(store, backlog_bound=5) as shop, ThreadPoolExecutor(30) as pool:
        codes = list(
            pool.map(lambda n: shop.post(order_values(order_id=f"SO-{n}"), key=f"k{n}").status_code, range(30))
        )
        assert (codes.count(202), codes.count(503), len(shop.rows())) == (5, 25, 5)


def test_who_comes_during_a_count_goes_by_the_last_one() -> None:
    """A count that takes long is taken once and holds up nobody but the one who takes it."""
    is_counting, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        if store.times == 2:
            is_counting.set()
            assert may_end.wait(20)

    store = _Slow(hold)
    backlog = Backlog(store, 5)
    assert not is_full(backlog)
    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(wait_until, lambda: is_full(backlog) or store.times > 1, what="the second count")
        assert is_counting.wait(20)
        assert not is_full(backlog)
        assert store.times == 2
        may_end.set()
        counting.result(20)


class _Away(_Counted):
    """Whose counts fail."""

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> Mapping[SagaStatus, int]:
        super().counts(since, until)
        raise StoreUnavailable("away")


def test_a_database_that_is_away_is_asked_once() -> None:
    """One caller meets it; the others do not wait to meet it one after the other, and go on to the accept, which says the same."""
    store = _Away()
    backlog = Backlog(store, 5)

    def ask(_number: int) -> str:
        try:
            return "in" if backlog.enter() else "full"
        except StoreUnavailable:
            return "away"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert (found.count("away"), store.times) == (1, 1)
    assert found.count("in") == 5


def test_a_slow_count_is_taken_less_often() -> None:
    """It costs a twentieth of one connection: after one that took a second nobody counts for twenty."""
    now = [100.0]

    def take_a_second() -> None:
        now[0] += 1.0

    store = _Slow(take_a_second)
    backlog = Backlog(store, 5, seconds=lambda: now[0])
    assert not is_full(backlog)
    now[0] += 19.9
    assert not is_full(backlog)
    assert store.times == 1
    now[0] += 0.2
    assert not is_full(backlog)
    assert store.times == 2


@pytest.mark.parametrize("outcome", [OutcomeCode.DEFECT])
def test_halted_orders_are_no_backlog(outcome: OutcomeCode) -> None:
    """They wait for a person: refusing orders would not help them."""
    store = MemoryStore()
    with opened(store) as shop:
        for number in range(3):
            shop.move(shop.accepted(order_id=f"SO-{number}"), {"authorize_payment:a": Outcome(outcome, "odd")})
    assert not is_full(Backlog(store, 1))
