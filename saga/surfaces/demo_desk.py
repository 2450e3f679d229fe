"""What a person does to a demonstration, key by key, and what came of it.

| key | deed |
|---|---|
| k | kill -9 the worker; another one is started at once, and takes over when the lease of the dead one has run out |
| z | freeze the worker where it stands (SIGSTOP), and thaw it |
| b | turn the broker off, and on |
| p | have the payment service close every connection before it reads (the fault `refuse`), and have it work again |
| c | cancel an order that has not come to the point of no return |
| q | accept no more orders; what is accepted ends, then the audit |

Rules of this file
------------------
- A deed changes when an order ends, never how; except a cancel, after which the one legal end is `compensated` for the cause
  `cancelled`. A cancel is written behind the very entry that was read, or not at all, so it is never in doubt.
- Nothing stays broken: a frozen worker is thawed after `FROZEN_S`, the payment service works again after `OUTAGE_S`, and the
  end of a run thaws and mends.
- A frozen worker may hold SQLite's lock for writers, so nothing is written in the thread that thaws it.
- A worker is killed when the one before it was taken over from, not sooner: a step that is open in a row of processes that die is
  halted as poison, and rightly so.
- Who took over whose orders, and when, is read from the journal: who wrote the entries.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from saga.clock import monotonic
from saga.core.plan import has_reached_no_return
from saga.core.states import SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.surfaces.cancelling import CancelRequest, CancelStanding, SagaChanged, cancel
from saga.surfaces.demo_books import Books
from saga.surfaces.demo_following import Followed, Follower, Happening
from saga.surfaces.demo_stack import DemoStack
from saga.surfaces.demo_table import counted
from saga.surfaces.ledgers import PAYMENT

FROZEN_S, OUTAGE_S = 15.0, 10.0
CANCEL_TRIES = 8
SAME_S = 0.1
YOU = "you"
ENDING = " for the end"
REFUSING = {"fault": "refuse", "operation": "*", "times": None}


@dataclass(slots=True)
class Takeover:
    """A worker that was killed, and what became of the orders that it had written to."""

    pid: int
    dead: frozenset[str]
    """The ids of its leases."""
    successor_pid: int
    killed_at: datetime
    is_after: float
    """On this process's clock."""

    def look(self, orders: Iterable[Followed], workers: frozenset[str]) -> str:
        """Who took over how many after how long; empty while an order of its waits, or was not read since."""
        its = [one for one in orders if self._was_its(one)]
        if any(one.ended_at is None and one.read_at <= self.is_after for one in its):
            return ""
        delays = []
        for one in its:
            others = [at for who, at in one.first_by.items() if who in workers - self.dead and at >= self.killed_at]
            if others:
                delays.append((min(others) - self.killed_at).total_seconds())
            elif one.ended_at is None:
                return ""
        if not delays:
            return f"no order was left to {self.successor_pid}"
        first, last = min(delays), max(delays)
        spread = f"{first:.1f} s" if last - first < SAME_S else f"{first:.1f} to {last:.1f} s"
        return f"{self.successor_pid} took over its {counted(len(delays), 'order')} after {spread}"

    def _was_its(self, one: Followed) -> bool:
        return bool(self.dead & one.first_by.keys()) and (one.ended_at is None or one.ended_at > self.killed_at)


@dataclass
class Desk:
    """The deeds. `press` does one, `look` goes on with those that last."""

    stack: DemoStack
    follower: Follower
    books: Books
    tell_faults: Callable[[str, Sequence[Mapping[str, object]]], None]
    """Sets a service's script: its name, and rules before those of the run's script."""
    finish: Callable[[], None]
    done: deque[Happening] = field(default_factory=deque)
    cancelled: set[str] = field(default_factory=set)
    """Order ids."""
    kill_count: int = 0
    is_broker_off: bool = False
    is_payment_off: bool = False
    is_finishing: bool = False
    _takeovers: list[Takeover] = field(default_factory=list)
    _cancels_owed: int = 0
    _thaw_by: float = 0.0
    _mend_by: float = 0.0
    _workers: set[str] = field(default_factory=set)

    def press(self, key: str) -> None:
        """Do what the key stands for; other keys do nothing."""
        deed = {
            "k": self._kill,
            "z": self._freeze,
            "b": self._switch_broker,
            "p": self._switch_payment,
            "c": self._cancel_one,
            "q": self._finish,
        }.get(key)
        if deed is not None:
            deed()

    def look(self) -> None:
        """What lasts: a freeze and an outage end by themselves, and a takeover is told when its last order is."""
        now = monotonic()
        if self.stack.worker.is_frozen and now >= self._thaw_by:
            self._thaw(f" by itself after {FROZEN_S:.0f} s")
        if self.is_payment_off and now >= self._mend_by:
            self._mend_payment(f" by itself after {OUTAGE_S:.0f} s")
        if self._cancels_owed and not self.stack.worker.is_frozen and self._is_one_cancelled():
            self._cancels_owed -= 1
        if self._takeovers:
            self._workers |= {row.worker_id for row, _ in self.stack.store.workers()}
            for one in list(self._takeovers):
                if what := one.look(self.follower.by_order.values(), frozenset(self._workers)):
                    self._takeovers.remove(one)
                    self._tell(f"worker {one.pid} killed → {what}")

    def mend(self) -> None:
        """The run ends: nothing stays frozen or off."""
        if self.stack.worker.is_frozen:
            self._thaw(ENDING)
        if self.is_payment_off:
            self._mend_payment(ENDING)

    def _tell(self, what: str) -> None:
        self.done.append(Happening(self.stack.store.clock(), YOU, "", what))

    def _kill(self) -> None:
        worker, store = self.stack.worker, self.stack.store
        if self._takeovers:
            self._tell(f"worker {worker.pid} has not taken over yet; k again when it has")
            return
        rows = store.workers()
        self._workers |= {row.worker_id for row, _ in rows}
        dead = frozenset(row.worker_id for row, _ in rows if row.pid == worker.pid)
        worker.kill()
        killed_at = store.clock()
        self.kill_count += 1
        self.stack.replace_worker()
        successor = self.stack.worker.pid
        self._takeovers.append(Takeover(worker.pid, dead, successor, killed_at, monotonic()))
        self._tell(f"kill -9 worker {worker.pid}; {successor} starts; the lease of the dead runs out first")

    def _freeze(self) -> None:
        if self.stack.worker.is_frozen:
            self._thaw()
            return
        self.stack.worker.freeze()
        self._thaw_by = monotonic() + FROZEN_S
        self._tell(f"worker {self.stack.worker.pid} frozen, with whatever it has in flight; z thaws it")

    def _thaw(self, why: str = "") -> None:
        self.stack.worker.thaw()
        self._tell(f"worker {self.stack.worker.pid} thawed{why}")

    def _switch_broker(self) -> None:
        from saga.runtime.celery.folder import turn

        self.is_broker_off = not self.is_broker_off
        turn(self.stack.broker, on=not self.is_broker_off)
        self._tell(
            "broker off: hints are dropped, the worker finds what is due by itself"
            if self.is_broker_off
            else f"broker on; {counted(self.stack.publisher.dropped_count, 'hint')} dropped; the sender tries again within 10 s"
        )

    def _switch_payment(self) -> None:
        if self.is_payment_off:
            self._mend_payment()
            return
        self.books.keep(PAYMENT)
        self.tell_faults(PAYMENT, [REFUSING])
        self.is_payment_off, self._mend_by = True, monotonic() + OUTAGE_S
        self._tell("payment off: it closes every connection before reading; p mends it")

    def _mend_payment(self, why: str = "") -> None:
        self.books.keep(PAYMENT)
        self.tell_faults(PAYMENT, [])
        self.is_payment_off = False
        self._tell(f"payment on{why}; what waits is sent again under the same keys")

    def _cancel_one(self) -> None:
        if self.stack.worker.is_frozen:
            self._cancels_owed += 1
            self._tell("cancel waits for the frozen worker")
        elif not self._is_one_cancelled():
            self._cancels_owed += 1
            self._tell("cancel waits for an order between its first effect and the capture")

    def _is_one_cancelled(self) -> bool:
        """Cancel an order, if there is one that can be: the bound is for orders that move on between the look and the cancel."""
        stack, request = self.stack, CancelRequest(reason="cancelled by you", actor="demo")
        for one in [it for it in self.follower.open if _may_be_cancelled(it)][:CANCEL_TRIES]:
            self.follower.read(one)
            if not _may_be_cancelled(one):
                continue
            try:
                done = cancel(stack.store, stack.definitions, one.saga_id, request, surface="cli", only_at=one.seq)
            except SagaChanged:
                continue
            if done.standing in (CancelStanding.ACCEPTED, CancelStanding.DONE):
                self.cancelled.add(one.order_id)
                stack.publisher.publish(list(done.hints))
                self._tell(f"{one.order_id} cancelled before its point of no return: it is rolled back")
                return True
        return False

    def _finish(self) -> None:
        """The second time ends at once, as ctrl-C does."""
        if self.is_finishing:
            raise KeyboardInterrupt
        self.is_finishing = True
        self.finish()
        self.mend()
        self._tell("no more orders; those that were accepted end, then comes the audit")


def _may_be_cancelled(one: Followed) -> bool:
    """Whether it goes forward, has done something that can be undone, and has not tried the point of no return."""
    state = one.state
    return (
        state is not None
        and state.status is SagaStatus.RUNNING
        and state.cancel is None
        and state.cause is None
        and bool(state.net_effects())
        and not has_reached_no_return(fulfil_order, state)
    )
