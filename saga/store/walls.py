"""A connection to PostgreSQL on which nobody waits for ever.

psycopg waits for an answer as long as the socket stays open, and a socket stays open while its peer is stopped, or while
something between swallows what is sent. So each wait has a wall here: psycopg looks up when a tenth of a second went by without
anything to read or write, and the first time that it does so `wall_s` after the wait began, the wait ends as a lost connection. So
an answer that comes without such a pause is not cut however long it takes, and one that comes in drops is. The outcome of the
statement is unknown then, COMMIT's too; everything that the store does may be done again.

Another thread may end the `Waits` of all connections that stand at once.
"""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from saga.clock import monotonic

Result = TypeVar("Result")


class Waits:
    """What any thread waits for on the connections that have these: whoever sets `are_over` ends it."""

    are_over = False


class Walled(psycopg.Connection[Any]):
    """See the top of this file. `wall_s` counts for each wait that begins after it was set."""

    wall_s: float = 10.0
    waits = Waits()

    def wait(self, gen: PQGen[Result], *arguments: Any, **named: Any) -> Result:
        """psycopg's own, within the wall. Raises `psycopg.OperationalError`, and the connection is closed then."""
        return super().wait(self._within(gen, self.wall_s), *arguments, **named)

    def _within(self, gen: PQGen[Result], wall_s: float) -> PQGen[Result]:
        ends_at = monotonic() + wall_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and (self.waits.are_over or monotonic() >= ends_at):
                    self.close()
                    why = "given up" if self.waits.are_over else f"no answer within {wall_s:g} s (SAGA_STATEMENT_S)"
                    raise psycopg.OperationalError(f"the connection to the database: {why}")
                wanted = gen.send(ready)
        except StopIteration as done:
            answer: Result = done.value
            return answer
