"""What a `--wait` says once when nothing has ended for a while: what the saga waits for, or that nobody works on it.

Rules of this file: the remark goes to stderr, once. It is said again when the wait ends without an end of the saga.
"""

from collections.abc import Callable, Sequence

from saga.clock import monotonic, seconds_between
from saga.core.states import Direction, NodePhase, SagaStatus
from saga.core.transitions import AttemptStarted
from saga.runtime.engine import fold
from saga.store.codec import decode
from saga.store.port import Store
from saga.surfaces.cli.options import say
from saga.surfaces.partly import UNREADABLE
from saga.surfaces.render import duration
from saga.surfaces.workers import living_workers, what_lacks

PATIENCE_S = 5.0
NOBODY = "is a worker running? saga status"


class Reminder:
    """Told where a saga stands as often as somebody looks; says so when it has been told for `PATIENCE_S` seconds."""

    def __init__(
        self,
        name: str,
        store: Store,
        saga_id: str,
        clock: Callable[[], float] = monotonic,
        definitions: Sequence[str] | None = None,
    ) -> None:
        self._name, self._store, self._saga_id, self._clock = name, store, saga_id, clock
        self._definitions = definitions
        self._say_at: float | None = clock() + PATIENCE_S

    def look(self, status: SagaStatus) -> None:
        if self._say_at is not None and self._clock() >= self._say_at:
            self._say_at = None
            self.say(status)

    def say(self, status: SagaStatus) -> None:
        say(f"saga: {self._name} is still {status}; {awaited(self._store, self._saga_id, self._definitions)}")


def awaited(store: Store, saga_id: str, definitions: Sequence[str] | None = None) -> str:
    """What a saga that has not ended waits for, when a worker that lives is to bring it; else the question for a worker. When
    none lives that may run it, what to type, with the `definitions` that were named on the command line; None: they are not known."""
    if definitions is not None and (lacks := what_lacks(store, frozenset(), definitions)) is not None:
        return lacks
    now, alive = store.now(), {worker.worker_id for worker in living_workers(store)}
    try:
        entries = store.load([saga_id])[saga_id]
        nodes = fold(entries)[0].nodes
        facts = [fact for entry in entries for fact in decode(entry.body)]
    except UNREADABLE:
        return NOBODY
    begun = {(it.node, it.epoch): it.at for it in facts if isinstance(it, AttemptStarted)}
    for name, node in nodes.items():
        step, _, direction = name.rpartition(":")
        what = f"it waits for {'undo ' * (direction == Direction.COMPENSATION)}{step}"
        if node.phase is NodePhase.OPEN and node.owner in alive:
            return f"{what}, try {node.epoch}, since {duration(seconds_between(begun[name, node.epoch], now))}"
        if alive and node.next_at is not None and node.next_at > now:
            return f"{what}, {node.code}; it is looked at again in {duration(seconds_between(now, node.next_at))}"
    return NOBODY
