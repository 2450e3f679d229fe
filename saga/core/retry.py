"""How often and how long one node is attempted; the only place that knows a backoff.

Full jitter (Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015), with the random number replaced by
a hash of (saga, node, attempt): the same journal gives the same instants on every machine.
"""

from dataclasses import dataclass
from hashlib import blake2b

from saga.core.options import A_DURATION, Rule, hold, is_count
from saga.errors import DefinitionError

_TWO_64 = float(1 << 64)
_RULES: dict[str, Rule] = {
    "max_attempts": (is_count, "it is a whole number, 1 or more"),
    "max_elapsed_s": A_DURATION,
    "base_s": A_DURATION,
    "cap_s": A_DURATION,
}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A budget. An attempt that was not sent or was throttled costs elapsed time and no attempt. Raises `DefinitionError`."""

    max_attempts: int = 8
    max_elapsed_s: float = 300.0
    base_s: float = 0.5
    cap_s: float = 60.0

    def __post_init__(self) -> None:
        hold("RetryPolicy", self, _RULES)
        if self.base_s > self.cap_s:
            raise DefinitionError(f"RetryPolicy: base_s={self.base_s!r} is above cap_s={self.cap_s!r}")

    def is_spent(self, attempts: int, elapsed_s: float) -> bool:
        """Whether the budget is used up after `attempts` that cost one, `elapsed_s` after the first."""
        return attempts >= self.max_attempts or elapsed_s >= self.max_elapsed_s

    def delay_s(self, saga_id: str, node: str, epoch: int) -> float:
        """Seconds until the next attempt after attempt `epoch`, between 0 and the capped exponential."""
        digest = blake2b(f"{saga_id}/{node}/{epoch}".encode(), digest_size=8).digest()
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(epoch - 1, 40))
        return ceiling * (int.from_bytes(digest, "big") / _TWO_64)


ACTION_RETRY = RetryPolicy()
COMPENSATION_RETRY = RetryPolicy(max_attempts=12, max_elapsed_s=900.0, cap_s=300.0)
