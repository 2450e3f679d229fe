"""Puts a demonstration's table together: a look at the journals, one at the books, one at what a person did."""

from collections import Counter

from saga.core.states import SagaStatus
from saga.surfaces.demo import Run
from saga.surfaces.demo_books import Books
from saga.surfaces.demo_desk import Desk
from saga.surfaces.demo_following import Follower
from saga.surfaces.demo_stack import PARTS
from saga.surfaces.demo_table import Keys, Picture, table

LAST_LOOK_S = 3.0
"""How long the last look may take: it is to have read every end."""


class Watching:
    """One run, as its table shows it. `look` four times a second, `lines` after each; `end` once."""

    def __init__(self, run: Run, *, has_keys: bool) -> None:
        self._run = run
        self._has_keys = has_keys
        self._follower = Follower(run.stack.store)
        self._books = Books(run.stack.urls, self._follower)
        self._desk = Desk(run.stack, self._follower, self._books, run.tell_faults, run.finishing.set)
        self._has_ended = False
        self._counts: dict[SagaStatus, int] = {}

    def press(self, key: str) -> None:
        self._desk.press(key)

    def look(self) -> None:
        """Read on: what the journals say first, so that the books are as new as they."""
        self._take()
        self._follower.look()
        self._books.look()
        self._desk.look()

    def end(self) -> None:
        """Everything has ended: read the rest, and hand over what the audit must know of the deeds."""
        self._has_ended = True
        self._desk.mend()
        self._take()
        self._follower.look(LAST_LOOK_S)
        self._books.look_at_all()
        self._desk.look()
        self._run.cancelled |= self._desk.cancelled
        self._run.fired += self._books.kept + Counter({"kill -9": self._desk.kill_count})
        self._run.by_you += [one.what for one in self._desk.done]

    def _take(self) -> None:
        known = len(self._follower.by_order)
        self._follower.take(self._run.accepted[known:])
        self._counts = self._run.counts()

    def lines(self) -> list[str]:
        run, desk = self._run, self._desk
        keys = Keys(run.stack.worker.is_frozen, desk.is_broker_off, desk.is_payment_off, desk.is_finishing)
        return table(
            Picture(
                asked=run.asked.orders,
                seed=run.asked.seed,
                parts=PARTS,
                worker_pid=run.stack.worker.pid,
                seconds=run.seconds,
                counts=self._counts,
                causes=self._follower.causes,
                fired=self._books.fired,
                kill_count=desk.kill_count,
                repeated_count=self._follower.repeated_count,
                dropped_count=run.stack.publisher.dropped_count,
                money=self._books.money,
                stock=self._books.stock,
                happened=self._follower.happened,
                done=desk.done,
                keys=keys if self._has_keys else None,
                has_ended=self._has_ended,
            )
        )
