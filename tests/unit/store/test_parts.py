"""The parts of the store that need no database: array literals, isolation of refused data, repetition, contact."""

from datetime import UTC, datetime, timedelta, timezone

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saga.clock import SteeredClock, monotonic
from saga.errors import StoreUnavailable, UsageError
from saga.store import postgres_sql
from saga.store.connecting import conninfo, postgres_url
from saga.store.contact import Contact
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.refusing import Refused, isolate
from saga.store.retrying import ATTEMPTS, Retriable, jittered, repeat
from saga.store.tables import from_micros, to_micros

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_a_text_array_arrives_as_it_was(postgres_url: str, values: list[str | None]) -> None:
    """Quotes, backslashes, braces, commas, the word NULL, blanks and line ends are only letters."""
    with psycopg.connect(postgres_url) as connection:
        answer = connection.execute("SELECT %s::text[]", (postgres_sql.texts(values),)).fetchone()
    assert answer == (values,)


def test_arrays_of_other_types_arrive_as_they_were(postgres_url: str) -> None:
    """Integers beyond 32 bits, instants of any zone with microseconds, bytes, and nothing."""
    numbers = [0, -1, 2**63 - 1]
    instants = [NOON + timedelta(microseconds=1), None, NOON.astimezone(timezone(timedelta(hours=-9, minutes=-30)))]
    hashes = [bytes(range(32)), b"\\" * 32, b""]
    query = "SELECT %s::bigint[], %s::timestamptz[], %s::bytea[], %s::text[]"
    literals = (postgres_sql.numbers(numbers), postgres_sql.instants(instants), postgres_sql.hashes(hashes), "{}")
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(query, literals).fetchone() == (numbers, instants, hashes, [])


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))])))
def test_microseconds_are_exact(instant: datetime) -> None:
    """What SQLite stores is the very instant, before 1970 too."""
    assert from_micros(to_micros(instant)) == instant


def test_only_the_bad_item_is_refused() -> None:
    """A group that is refused goes singly; the others are done as if it had not been there."""
    done: list[int] = []

    def together(group: list[int]) -> list[str]:
        if 3 in group:
            raise Refused("three")
        done.extend(group)
        return [f"ok {item}" for item in group]

    answers = isolate([1, 2, 3, 4], together, lambda item, why: f"no {item} {why}")  # type: ignore[arg-type]  # a list is a Sequence here
    assert answers == ["ok 1", "ok 2", "no 3 three", "ok 4"]
    assert done == [1, 2, 4]


def test_repetition_is_bounded() -> None:
    """An attempt that always fails is made ATTEMPTS times within two seconds, and then the database is away."""
    made: list[int] = []

    def attempt() -> None:
        made.append(1)
        raise Retriable("gone") from ConnectionError("no route")

    started_at = monotonic()
    with pytest.raises(StoreUnavailable, match="append: gone; the call may be repeated"):
        repeat(attempt, "append", 60.0)
    assert len(made) == ATTEMPTS
    assert monotonic() - started_at < 2


def test_repetition_ends_when_its_time_is_over() -> None:
    """Attempts that take long are made twice and no more: the second is the one on a new connection."""
    made: list[int] = []

    def attempt() -> None:
        made.append(1)
        raise Retriable("no answer")

    with pytest.raises(StoreUnavailable):
        repeat(attempt, "append", 0.0)
    assert len(made) == 2


def test_repetition_ends_with_success() -> None:
    """The answer of the first attempt that works is the answer; other errors pass at once."""
    failures = iter([Retriable("one"), Retriable("two")])

    def attempt() -> str:
        for failure in failures:
            raise failure
        return "done"

    assert repeat(attempt, "x", 60.0) == "done"
    with pytest.raises(ZeroDivisionError):
        repeat(lambda: 1 // 0, "x", 60.0)


def test_jitter_stays_between_half_and_whole() -> None:
    """No wait is longer than asked for, and they differ."""
    waits = {jittered(1.0) for _ in range(200)}
    assert all(0.5 <= wait_s <= 1.0 for wait_s in waits)
    assert len(waits) > 50


def test_a_process_in_steady_contact_may_judge() -> None:
    """Answers closer together than a lease never make it wait."""
    contact = Contact()
    assert all(contact.heard(NOON + timedelta(seconds=second)) for second in range(0, 60, 4))


def test_after_a_gap_a_process_waits_one_lease() -> None:
    """Out of contact for longer than its lease: no judgement until one lease later, then again."""
    contact = Contact()
    contact.expect(3.0)
    contact.heard(NOON)
    back = NOON + timedelta(seconds=10)
    assert [contact.heard(back + timedelta(seconds=second)) for second in range(5)] == [False, False, False, True, True]


def test_urls() -> None:
    """psycopg 3 is the driver whatever the URL says, and libpq is told no driver; a password survives."""
    assert postgres_url("postgresql://u:p%40@h/d").render_as_string(hide_password=False) == (
        "postgresql+psycopg://u:p%40@h/d"
    )
    assert conninfo("postgresql+psycopg://u:p%40@h/d?sslmode=require") == "postgresql://u:p%40@h/d?sslmode=require"


@pytest.mark.parametrize("url", ["mysql://h/d", "saga.db", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused(url: str) -> None:
    """The error says what a URL looks like."""
    with pytest.raises(UsageError, match="memory://"):
        open_store(url)


def test_a_store_in_memory_tells_the_time_it_is_given() -> None:
    """A steered clock steers leases and due instants of the simulator."""
    clock = SteeredClock()
    clock.steer(NOON, monotonic())
    store = MemoryStore(clock)
    assert NOON <= store.now() < NOON + timedelta(seconds=10)
    clock.steer(NOON + timedelta(days=1), monotonic())
    assert store.clock() >= NOON + timedelta(days=1)


def test_an_answer_that_took_long_says_nothing_of_the_time() -> None:
    """A partition held it back, or the process stood still with the answer in its socket: it is of long ago."""
    clock = SteeredClock()
    clock.steer(NOON, monotonic())
    clock.steer(NOON - timedelta(seconds=12), monotonic() - 12)
    assert timedelta() <= clock.now() - NOON < timedelta(seconds=5)


def test_of_two_answers_that_nearly_agree_the_later_is_right() -> None:
    """Each was late by its way; one that is off by more is a clock that was changed."""
    clock = SteeredClock()
    clock.steer(NOON, monotonic())
    clock.steer(NOON - timedelta(seconds=0.3), monotonic())
    assert clock.now() >= NOON
    clock.steer(NOON - timedelta(hours=1), monotonic())
    assert clock.now() < NOON - timedelta(minutes=59)
