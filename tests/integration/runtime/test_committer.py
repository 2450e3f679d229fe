"""The committer loses nothing: not at the edge of a group, not while the store is away."""

import threading
from collections.abc import Sequence

from saga.errors import StoreUnavailable
from saga.runtime.engine import Definitions
from saga.runtime.loop import GROUP_LIMIT, Committer, Item
from saga.runtime.work import Committed
from saga.store.memory import MemoryStore
from saga.store.port import Append, AppendResult
from tests.simulation.sagas import SAGAS, begin, line
from tests.simulation.stepping import Process


class _Away(MemoryStore):
    """A store that does not answer the first times it is asked to append."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.groups: list[int] = []

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        self.groups.append(len(group))
        return super().append(group)


def _claims(store: MemoryStore, count: int) -> list[Append]:
    """The first append of that many sagas, made by the production driver."""
    process = Process(store, Definitions(SAGAS), "w1", slots=4 * count)
    for number in range(count):
        process.wake(begin(store, line, f"SO-{number}"))
    assert len(process.appends) == count
    return process.appends


def _committed(store: MemoryStore, appends: Sequence[Append]) -> list[Committed]:
    """What the committer delivers for all of them, submitted before it starts, so that they wait as one crowd."""
    delivered: list[Item] = []
    all_there = threading.Event()

    def deliver(item: Item) -> None:
        delivered.append(item)
        if len(delivered) == len(appends):
            all_there.set()

    committer = Committer(store, deliver)
    for append in appends:
        committer.submit(append)
    committer.start()
    assert all_there.wait(20), f"{len(delivered)} of {len(appends)} came back"
    committer.stop()
    return [item for item in delivered if isinstance(item, Committed)]


def test_every_append_of_a_crowd_comes_back() -> None:
    """More than fit into one group: the one after the last of a group is the first of the next, and not lost."""
    store = _Away(0)
    appends = _claims(store, 2 * GROUP_LIMIT + 3)
    answers = _committed(store, appends)
    assert sorted(it.saga_id for it in answers) == sorted(it.saga_id for it in appends)
    assert {it.result for it in answers} == {AppendResult.APPENDED}
    assert store.groups == [GROUP_LIMIT, GROUP_LIMIT, 3]


def test_a_store_that_is_away_is_asked_until_it_answers() -> None:
    """The outcome of a call that was made is never dropped."""
    store = _Away(0)
    appends = _claims(store, 2)
    store.failures = 2
    assert [it.result for it in _committed(store, appends)] == [AppendResult.APPENDED] * 2
