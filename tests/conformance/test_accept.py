"""Accept stores saga, idempotency row and entry 1 together, once per request and once per live entity."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from saga.core.states import SagaStatus
from saga.store.port import AcceptResult, AcceptStatus, NewSaga, Store
from tests.conformance.building import accepted, append_of, entry, moved, new_id, new_saga

ACCEPTED, REPLAYED, DUPLICATE = AcceptStatus.ACCEPTED, AcceptStatus.REPLAYED, AcceptStatus.DUPLICATE


def keyed(store: Store, key: str, request_hash: str = "hash", **fields: object) -> NewSaga:
    """A saga offered under a request key."""
    return new_saga(store, request_key=key, request_hash=request_hash, **fields)  # type: ignore[arg-type]  # fields by name


def test_an_accepted_saga_is_there_whole(store: Store) -> None:
    """Row and first entry, which was written for run 1."""
    new = new_saga(store, priority=3)
    assert store.accept([new]) == [AcceptResult(ACCEPTED, new.saga_id, 1)]
    row = store.row(new.saga_id)
    assert row is not None
    assert (row.entity, row.run, row.status, row.due_at) == (new.entity, 1, SagaStatus.RUNNING, new.due_at)
    [first] = store.load([new.saga_id])[new.saga_id]
    assert first == new.first_entry(1)


def test_the_same_request_is_replayed(store: Store) -> None:
    """Same key and hash: the saga of the first time, and nothing new."""
    key = new_id("k")
    first, again = keyed(store, key), keyed(store, key)
    store.accept([first])
    assert store.accept([again]) == [AcceptResult(REPLAYED, first.saga_id, 1)]
    assert store.row(again.saga_id) is None


def test_another_request_under_the_key_is_told(store: Store) -> None:
    """Same key, another hash: KEY_REUSED, and nothing stored."""
    key = new_id("k")
    first, other = keyed(store, key, "one"), keyed(store, key, "two")
    store.accept([first])
    assert store.accept([other]) == [AcceptResult(AcceptStatus.KEY_REUSED, first.saga_id, 1)]
    assert store.row(other.saga_id) is None


def test_a_key_belongs_to_environment_and_tenant(store: Store) -> None:
    """Two shops and a staging system may use the same key, and the same order number."""
    key, entity = new_id("k"), new_id("order")
    group = [
        keyed(store, key, entity=entity),
        keyed(store, key, entity=entity, tenant="other"),
        keyed(store, key, entity=entity, environment="staging"),
    ]
    assert [result.status for result in store.accept(group)] == [ACCEPTED] * 3


def test_a_live_or_completed_entity_is_a_duplicate(store: Store) -> None:
    """Whatever the key: while a saga of the entity is not compensated no other is accepted, and no key is used up."""
    first = accepted(store)
    key = new_id("k")
    second = keyed(store, key, entity=first.entity)
    assert store.accept([second]) == [AcceptResult(DUPLICATE, first.saga_id, 1)]
    for seq, status in ((2, SagaStatus.HALTED), (3, SagaStatus.COMPLETED)):
        store.append([moved(store, first.saga_id, seq, status)])
        assert store.accept([second]) == [AcceptResult(DUPLICATE, first.saga_id, 1)]
    fresh = keyed(store, key)
    assert store.accept([fresh]) == [AcceptResult(ACCEPTED, fresh.saga_id, 1)]


def test_after_a_rollback_the_entity_runs_again(store: Store) -> None:
    """Run numbers count on, entry 1 is told its run, and the earlier request is still replayed."""
    key = new_id("k")
    first = keyed(store, key, entity=new_id("order"))
    store.accept([first])
    store.append([moved(store, first.saga_id, 2, SagaStatus.COMPENSATED)])
    for run in (2, 3):
        again = new_saga(store, entity=first.entity)
        assert store.accept([again]) == [AcceptResult(ACCEPTED, again.saga_id, run)]
        assert store.tail(again.saga_id, 0) == [again.first_entry(run)]
        store.append([moved(store, again.saga_id, 2, SagaStatus.COMPENSATED)])
    assert store.accept([keyed(store, key, entity=first.entity)]) == [AcceptResult(REPLAYED, first.saga_id, 1)]


def test_accepting_the_same_saga_again_is_accepted(store: Store) -> None:
    """After a COMMIT of unknown outcome the caller repeats the call and is told what the first would have said."""
    for new in (new_saga(store), keyed(store, new_id("k"))):
        assert store.accept([new]) == store.accept([new]) == [AcceptResult(ACCEPTED, new.saga_id, 1)]
        assert len(store.tail(new.saga_id, 0)) == 1


def test_a_group_is_answered_in_order_and_sees_itself(store: Store) -> None:
    """Of equal keys or entities in one group the first is accepted."""
    key, entity = new_id("k"), new_id("order")
    group = [
        keyed(store, key),
        keyed(store, key),
        keyed(store, key, "other"),
        new_saga(store, entity=entity),
        new_saga(store, entity=entity),
    ]
    results = store.accept(group)
    assert [result.status for result in results] == [ACCEPTED, REPLAYED, AcceptStatus.KEY_REUSED, ACCEPTED, DUPLICATE]
    assert [results[1].saga_id, results[4].saga_id] == [group[0].saga_id, group[3].saga_id]


def test_one_refused_saga_leaves_the_others(store: Store) -> None:
    """A NUL byte in one of 64 refuses that one, with a reason, and nothing of it is stored."""
    group = [new_saga(store) for _ in range(64)]
    now = store.now()
    group[7] = replace(group[7], first_entry=lambda run: replace(entry(1, now), body="a\0b"))
    results = store.accept(group)
    assert [result.status for result in results] == [
        AcceptStatus.REFUSED if index == 7 else ACCEPTED for index in range(64)
    ]
    assert results[7].reason
    assert store.row(group[7].saga_id) is None


def test_a_saga_id_in_use_is_refused(store: Store) -> None:
    """Ids are unique over entities; nothing of the second is stored."""
    first = accepted(store)
    [result] = store.accept([new_saga(store, saga_id=first.saga_id)])
    assert result.status is AcceptStatus.REFUSED
    assert len(store.tail(first.saga_id, 0)) == 1


def test_fifty_equal_requests_at_once_make_one_saga(store: Store) -> None:
    """Fifty threads with one key: one is accepted, 49 are told its id."""
    key, entity = new_id("k"), new_id("order")
    offers = [keyed(store, key, entity=entity) for _ in range(50)]
    with ThreadPoolExecutor(50) as threads:
        results = [result for [result] in threads.map(lambda new: store.accept([new]), offers)]
    assert Counter(result.status for result in results) == {ACCEPTED: 1, REPLAYED: 49}
    assert len({result.saga_id for result in results}) == 1


def test_fifty_offers_of_one_order_at_once_make_one_saga(store: Store) -> None:
    """Fifty threads with fifty keys and one order: one is accepted, 49 are duplicates whose keys stay free."""
    entity = new_id("order")
    offers = [keyed(store, new_id("k"), entity=entity) for _ in range(50)]
    with ThreadPoolExecutor(50) as threads:
        results = [result for [result] in threads.map(lambda new: store.accept([new]), offers)]
    assert Counter(result.status for result in results) == {ACCEPTED: 1, DUPLICATE: 49}
    [winner] = {result.saga_id for result in results}
    loser = next(new for new in offers if new.saga_id != winner)
    [result] = store.accept([keyed(store, str(loser.request_key), "another body")])
    assert result.status is ACCEPTED


def test_crossing_groups_accept_each_order_once(store: Store) -> None:
    """Eight threads offer the same 32 orders in groups of opposite order: each is accepted once."""
    entities = [new_id("order") for _ in range(32)]

    def offer(number: int) -> list[AcceptResult]:
        ordered = entities if number % 2 else entities[::-1]
        return store.accept([new_saga(store, entity=entity) for entity in ordered])

    with ThreadPoolExecutor(8) as threads:
        results = [result for results in threads.map(offer, range(8)) for result in results]
    assert Counter(result.status for result in results) == {ACCEPTED: 32, DUPLICATE: 32 * 7}


def test_what_was_accepted_goes_on(store: Store) -> None:
    """Entry 2 is appended behind the entry 1 that accept wrote."""
    new = accepted(store)
    store.append([append_of(store, new.saga_id, 2)])
    assert [one.seq for one in store.tail(new.saga_id, 0)] == [1, 2]
