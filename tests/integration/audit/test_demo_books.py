"""What explains the money that a demonstration's payment ledger shows, and that one question reads one ledger."""

from datetime import UTC, datetime

from saga.store.memory import MemoryStore
from saga.surfaces.demo_books import Books as Figures
from saga.surfaces.demo_books import Money
from saga.surfaces.demo_following import Followed, Follower
from saga.surfaces.ledgers import PAYMENT, read_movements
from tests.integration.audit.books import Books, serving


def captured(**by_order: int) -> Books:
    """Books in which so much was captured for each order."""
    books = Books()
    for order_id, amount in by_order.items():
        moved = {"amount": amount, "currency": "GBP", "debit": "customer", "credit": "merchant"}
        books.write(PAYMENT, "POST /v1/captures", f"k-{order_id}", order_id, **moved)
    return books


def following(*, is_over: bool) -> Follower:
    """S1 has completed and had to pay 100; S2 is on its way, unless all is over."""
    follower = Follower(MemoryStore())
    at = datetime(2026, 11, 21, tzinfo=UTC)
    follower.by_order["S1"] = Followed("s1", "S1", ended_at=at, is_completed=True, due=100)
    if is_over:
        follower.by_order["S2"] = Followed("s2", "S2", ended_at=at, is_completed=True, due=50)
    else:
        follower.take([("s2", "S2")])
    return follower


def looks(books: Books, follower: Follower, count: int) -> list[tuple[int, int]]:
    """What is in flight and what is unexplained at each look at all books."""
    found: list[Money] = []
    with serving(books) as urls:
        figures = Figures(urls, follower)
        for _ in range(count):
            figures.look_at_all()
            assert figures.money is not None
            found.append(figures.money)
    return [(it.in_flight, it.unexplained) for it in found]


def test_money_of_an_order_on_its_way_is_in_flight() -> None:
    """It is explained, however often it is looked at."""
    assert looks(captured(S1=100, S2=50), following(is_over=False), 2) == [(50, 0), (50, 0)]


def test_money_of_an_order_that_nobody_handed_over() -> None:
    """At the first look it may be one that is accepted at this moment; then nothing explains it."""
    assert looks(captured(S1=100, S2=50, S99=7), following(is_over=False), 2) == [(57, 0), (50, 7)]


def test_when_all_have_ended_nothing_is_in_flight() -> None:
    """Nobody is accepted any more, so what is unknown is unexplained at once."""
    assert looks(captured(S1=100, S2=50, S99=7), following(is_over=True), 1) == [(0, 7)]


def test_one_ledger_is_read_alone() -> None:
    """The rows of one service in their order; its barrier, which nobody could read, is not asked for."""
    books = captured(S1=100, S2=50)
    books.barrier[PAYMENT] = [{"id": "none"}]
    with serving(books) as urls:
        rows = read_movements(PAYMENT, urls[PAYMENT])
    assert [(it.order_id, it.quantity, it.target) for it in rows] == [("S1", 100, "merchant"), ("S2", 50, "merchant")]
