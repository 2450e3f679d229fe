"""A worker process without its broker: the loop, the lease that says it lives, and the rescuer that finds what nobody holds.

The lease is renewed until the last call in flight has been written, also while the process drains: a step that is longer than a
lease must not be taken over because its worker was told to stop.

The rescuer repeats one query for ever and trusts nothing it remembers: close workers that are gone (which makes their
sagas due), take due sagas up to the free slots. It is silent unless something happened, and one bad row
or a database that is away never ends it. It runs inside every worker process and, with no broker at all, as `saga drain`.
"""

import threading
from collections.abc import Callable, Sequence

from saga.clock import monotonic
from saga.core.events import Start
from saga.errors import SagaError
from saga.forked import ForkGuard
from saga.log import logger
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.foreign import Foreign
from saga.runtime.lease import Lease, close_dead_workers
from saga.runtime.loop import Around, Loop, plain
from saga.runtime.work import Hint, Limits
from saga.store.port import Store, Wanted

SWEEP_S = 0.25
BUSY_SWEEP_S = 0.01
DEAD_LOOK_S = 1.0
PUSH_S = 5.0
SWEEP_LIMIT = 64
RESCUER_END_S = 2.0


class Worker:
    """The process driver with its lease and its rescuer. `start`, `wake` from anywhere, `stop` at a step boundary."""

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        executor: Executor,
        *,
        queues: frozenset[str] | None = None,
        limits: Limits | None = None,
        publish: Callable[[Sequence[Hint]], None] = lambda _hints: None,
        around: Around = plain,
        broken: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._queues = queues
        self._foreign = Foreign(store)
        self._publish = publish
        self._broken = broken
        self._lease = Lease(store, queues or frozenset(), self._go_on_as)
        self._loop = Loop(
            store,
            definitions,
            executor,
            self._lease.worker_id,
            limits=limits,
            runs=self._consumes,
            publish=self._hint,
            around=around,
            leave=self._foreign.hinted,
            rest=self._foreign.rests,
            may_call=lambda: self._lease.is_known,
        )
        self._draining = threading.Event()
        self._has_given_up = False
        self._stopping = threading.Event()
        self._rescuer = threading.Thread(target=self._rescue, name="saga-rescuer", daemon=True)
        self._guard = ForkGuard("worker")

    @property
    def worker_id(self) -> str:
        """The id of its lease; another one once that was lost."""
        return self._lease.worker_id

    def _consumes(self, _saga: str, start: Start) -> bool:
        return self._lease.is_known and (self._queues is None or start.queue in self._queues)

    def _hint(self, hints: Sequence[Hint]) -> None:
        self._foreign.hinted(hint.saga_id for hint in hints)
        self._publish(hints)

    def start(self) -> None:
        """The lease first: nothing is claimed by a process that nobody could find dead."""
        self._guard.check()
        self._lease.open()
        self._loop.start()
        self._rescuer.start()

    def wake(self, saga_ids: Sequence[str]) -> None:
        """Somebody hints at these sagas; returns at once."""
        self._guard.check()
        self._loop.wake(saga_ids)

    def stop(self, grace_s: float = 30.0) -> bool:
        """Finish what is in flight, up to `grace_s`, and give the lease back. True when nothing was left behind. A worker that
        gave up waits for nothing: what is in flight does not end. Takes ten seconds more at most, whatever does not answer."""
        self._draining.set()
        is_clean = self._loop.stop(0.0 if self._has_given_up else grace_s)
        self._stopping.set()
        self._rescuer.join(RESCUER_END_S)
        self._lease.close()
        return is_clean

    def _go_on_as(self, worker_id: str) -> None:
        self._loop.rename(worker_id)

    def _rescue(self) -> None:
        pause_s, looked_at = SWEEP_S, monotonic()
        while not self._stopping.wait(pause_s):
            try:
                if not self._loop.is_whole:
                    self._give_up()
                    return
                if monotonic() - looked_at >= DEAD_LOOK_S:
                    looked_at = monotonic()
                    close_dead_workers(self._store)
                is_busy = not self._draining.is_set() and self._lease.is_known and self._sweep()
                pause_s = BUSY_SWEEP_S if is_busy else SWEEP_S
            except SagaError as error:
                logger.warning("rescue_postponed", error=str(error))
            except Exception as error:  # the guard of an endless loop: recovery is repeated for ever
                logger.error("rescue_failed", error=f"{type(error).__name__}: {error}")

    def _give_up(self) -> None:
        """A thread of the loop died of a bug, or every one is in a step past its deadline. A process that renews its lease
        and does nothing would hold its sagas for ever, so the lease is given back, and others take over what was in
        flight."""
        why = "a thread died, or all are in steps past their deadlines; restart this process"
        logger.error("worker_broken", worker_id=self.worker_id, reason=why)
        self._has_given_up = True
        self._loop.abandon()
        self._lease.close()
        self._broken()

    def _sweep(self) -> bool:
        """Take what is due, up to the room there is; whether there was so much that another look is due at once."""
        without = self._foreign.hand_back()
        limit = min(self._loop.free_count, SWEEP_LIMIT)
        if not limit:
            self._sweep_turned(without)
            return False
        due = self._store.sweep_due(limit, PUSH_S, Wanted(self._definitions.versions, without=without))
        if due:
            self._foreign.took(due)
            self._loop.wake([it.saga_id for it in due])
        return len(due) == limit

    def _sweep_turned(self, without: tuple[str, ...]) -> None:
        """Slow actions hold every slot they may have; rollbacks have a share of their own."""
        limit = min(self._loop.back_count, SWEEP_LIMIT)
        if limit:
            wanted = Wanted(self._definitions.versions, turned_only=True, without=without)
            due = self._store.sweep_due(limit, PUSH_S, wanted)
            self._foreign.took(due)
            self._loop.look_at([it.saga_id for it in due])
