"""Waits for a condition of this process, with a bound."""

from collections.abc import Callable

from saga.clock import monotonic, sleep
from saga.errors import StoreUnavailable


def wait_for(condition: Callable[[], bool], bound_s: float, otherwise: str) -> None:
    """Return when `condition` holds; `StoreUnavailable` with `otherwise` after `bound_s` seconds."""
    give_up_at = monotonic() + bound_s
    while not condition():
        if monotonic() > give_up_at:
            raise StoreUnavailable(f"{otherwise} within {bound_s:.0f} s")
        sleep(0.02)
