"""The due index is the queue: highest priority and oldest first, each saga to one sweeper, pushed further each time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from saga.core.states import HaltReason, SagaStatus
from saga.store.port import Append, Rest, SagaColumns, Store, Wanted
from saga.store.sweeping import pushed_s
from tests.conformance.building import accepted, due_ago, entry_of, moved, new_saga
from tests.conformance.conftest import OpenAnother


def test_the_highest_priority_and_the_oldest_come_first(store: Store) -> None:
    """Order of a sweep, and its limit."""
    late = accepted(store, due_at=due_ago(store, 10)).saga_id
    early = accepted(store, due_at=due_ago(store, 20)).saga_id
    urgent = accepted(store, due_at=due_ago(store, 5), priority=1).saga_id
    accepted(store)
    assert [due.saga_id for due in store.sweep_due(2, 30.0)] == [urgent, early]
    [last] = store.sweep_due(2, 30.0)
    assert (last.saga_id, last.definition, last.version, last.pushes) == (late, "fulfil_order", 1, 0)
    assert store.sweep_due(2, 30.0) == []


def test_a_sweep_pushes_the_due_instant(store: Store) -> None:
    """`push_s` from now at first, doubling with every push in a row."""
    new = accepted(store, due_at=due_ago(store, 10))
    before = store.now()
    store.sweep_due(1, 5.0)
    row = store.row(new.saga_id)
    assert row is not None
    assert row.due_at is not None
    assert timedelta(seconds=4.9) <= row.due_at - before <= timedelta(seconds=8)


def test_pushes_double_up_to_a_minute(store: Store) -> None:
    """Pushes in a row are counted, the waits are 5, 10, 20, 40, 60, 60 s; and the stores wait as long as this says."""
    assert [pushed_s(5.0, pushes) for pushes in range(6)] == [5, 10, 20, 40, 60, 60]
    assert pushed_s(5.0, 10_000) == 60
    saga_id = accepted(store, due_at=due_ago(store, 10)).saga_id
    for pushes in range(20):
        [due] = store.sweep_due(1, 0.0)
        assert due.pushes == pushes
    before = store.now()
    store.sweep_due(1, 0.001)
    row = store.row(saga_id)
    assert row is not None
    assert row.due_at is not None
    assert timedelta(seconds=59) <= row.due_at - before <= timedelta(seconds=63)


def test_an_ended_saga_is_never_due(store: Store) -> None:
    """A due instant of None leaves the queue."""
    new = accepted(store, due_at=due_ago(store, 10))
    store.append([moved(store, new.saga_id, 2, SagaStatus.COMPLETED)])
    assert store.sweep_due(10, 5.0) == []
    assert store.due_counts() == (0, 0.0)


def test_due_counts_say_how_many_and_how_long(store: Store) -> None:
    """Number of due sagas, and the age of the oldest in seconds."""
    for age_s in (1, 90, 30):
        accepted(store, due_at=due_ago(store, age_s))
    accepted(store)
    number, oldest_s = store.due_counts()
    assert number == 3
    assert 89 <= oldest_s <= 95


def test_of_twenty_sweepers_one_gets_a_saga(store: Store, open_another: OpenAnother) -> None:
    """Twenty threads over two stores sweep 300 due sagas: each saga is handed out once, and none is left."""
    now = store.now()
    group = [new_saga(store, due_at=now - timedelta(seconds=index)) for index in range(300)]
    store.accept(group)
    stores = [store, open_another()]

    def sweep(number: int) -> list[str]:
        mine: list[str] = []
        while swept := stores[number % 2].sweep_due(7, 600.0):
            mine += [due.saga_id for due in swept]
        return mine

    with ThreadPoolExecutor(20) as threads:
        swept = [saga_id for mine in threads.map(sweep, range(20)) for saga_id in mine]
    # A sweeper may see nothing while others hold the last rows locked, so one more sweep takes what they left.
    swept += sweep(0)
    assert sorted(swept) == sorted(new.saga_id for new in group)


def test_a_sweeper_takes_only_what_it_has_the_definition_of(store: Store) -> None:
    """Pushing the due instant of a saga that one cannot run would hide it from those who can."""
    mine = accepted(store, due_at=due_ago(store, 10)).saga_id
    for foreign in ((), (("another", 1),), (("fulfil_order", 2),)):
        assert store.sweep_due(10, 30.0, Wanted(definitions=foreign)) == []
    [due] = store.sweep_due(10, 30.0, Wanted(definitions=(("another", 1), ("fulfil_order", 1))))
    assert (due.saga_id, due.pushes) == (mine, 0)


def test_a_sweeper_may_ask_for_rollbacks_alone(store: Store) -> None:
    """A process whose actions hold their slots still takes what is rolling back, also where that is retried at the cap or
    goes on beside an entry that waits for a person."""
    faces = [
        (SagaStatus.COMPENSATING, None),
        (SagaStatus.HALTED, HaltReason.COMPENSATION_RETRYING),
        (SagaStatus.HALTED, HaltReason.UNRESOLVED_EFFECT),
        (SagaStatus.HALTED, HaltReason.PARTICIPANT_DOWN),
    ]
    running, *others = (accepted(store, due_at=due_ago(store, 10)).saga_id for _ in range(5))
    for saga_id, (status, reason) in zip(others, faces, strict=True):
        columns = SagaColumns(status, reason, due_ago(store, 5))
        store.append([Append(saga_id, entry_of(store, saga_id, 2), columns)])
    turned = store.sweep_due(10, 30.0, Wanted(turned_only=True))
    assert sorted(due.saga_id for due in turned) == sorted(others[:3])
    assert sorted(due.saga_id for due in store.sweep_due(10, 30.0)) == sorted([running, others[3]])


def test_what_is_handed_back_is_due_at_once_for_the_others(store: Store) -> None:
    """Whoever took a saga that is not for him neither hides it nor takes it again, and how often it was taken stays."""
    mine, ended = (accepted(store, due_at=due_ago(store, 10)).saga_id for _ in range(2))
    store.append([Append(ended, entry_of(store, ended, 2), SagaColumns(SagaStatus.COMPLETED, None, None))])
    assert [due.pushes for due in store.sweep_due(10, 30.0)] == [0]
    assert store.sweep_due(10, 30.0) == []
    store.hand_back([mine, ended, "nobody"])
    assert store.sweep_due(10, 30.0, Wanted(without=(mine, "nobody"))) == []
    assert [(due.saga_id, due.pushes) for due in store.sweep_due(10, 30.0)] == [(mine, 1)]


def test_what_is_handed_back_keeps_its_place_in_the_line(store: Store) -> None:
    """Oldest first: a saga that was due for long does not fall behind younger ones because somebody had it in hand."""
    old, young = (accepted(store, due_at=due_ago(store, ago_s)).saga_id for ago_s in (100, 10))
    store.hand_back([old])
    assert [due.saga_id for due in store.sweep_due(1, 30.0)] == [old]
    assert [due.saga_id for due in store.sweep_due(1, 30.0)] == [young]


def test_a_saga_that_was_looked_at_too_early_rests_until_its_instant(store: Store) -> None:
    """Its pushes begin anew, and a row that somebody has written since the sweep stays as it is."""
    early, moved = (accepted(store, due_at=due_ago(store, 10)).saga_id for _ in range(2))
    swept = {due.saga_id: due for due in store.sweep_due(10, 30.0)}
    store.hand_back([moved])
    before = store.row(moved)
    later = store.now() + timedelta(hours=1)
    store.rest([Rest(saga_id, swept[saga_id].until, later) for saga_id in (moved, early)])
    row = store.row(early)
    assert row is not None
    assert row.due_at == later
    assert store.row(moved) == before
    store.rest([Rest(early, later, due_ago(store, 1))])
    [due] = [it for it in store.sweep_due(10, 30.0) if it.saga_id == early]
    assert due.pushes == 0
