"""A journal as it is stored: entries that each carry the hash of the one before, and how far a saga row remembers it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One decision as it is stored: every transition of it in `body`, a JSON array."""

    seq: int
    at: datetime
    writer: str
    """Boot id of the worker process, or the surface that wrote it (`api`, `cli`)."""
    actor: str
    reason: str | None
    body: str
    prev_hash: bytes
    """sha256 of the entry before (32 bytes); zeros for entry 1."""
    min_reader_version: int = 1

    @property
    def hash(self) -> bytes:
        """What the next entry carries as `prev_hash`."""
        return entry_hash(self.prev_hash, self.seq, self.body)


def entry_hash(prev_hash: bytes, seq: int, body: str) -> bytes:
    """sha256 over the hash before, the number and the body: an entry stands for everything that came before it."""
    return sha256(prev_hash + str(seq).encode() + b"\n" + body.encode()).digest()


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a journal had got: it held an entry of this number and hash, durably."""

    seq: int
    hash: bytes


class Journal(list[JournalEntry]):
    """A journal as it is stored, ascending, and how far its saga row says that it had got. `is_marked`: the row says that the
    journal is damaged, and nobody has answered for it yet."""

    def __init__(
        self, entries: Iterable[JournalEntry] = (), reached: Reached | None = None, *, is_marked: bool = False
    ) -> None:
        super().__init__(entries)
        self.is_marked = is_marked
        self.reached = reached
        """None: nothing is remembered (a row of an earlier release, or none)."""

    @property
    def lacks(self) -> str | None:
        """What it lacks of what is remembered of it, in words; None when it is whole as far as anybody knows."""
        if self.reached is not None and (count := len(self)) < self.reached.seq:
            return f"its saga row remembers entry {self.reached.seq}, and the journal has {count}"
        if self.reached is not None and self[self.reached.seq - 1].hash != self.reached.hash:
            return f"entry {self.reached.seq} is not the one that its saga row remembers"
        return "its saga row says that it was damaged" if self.is_marked else None


def damage_values(
    saga_id: str, seen: Reached | None, reached: Reached | None
) -> tuple[int, bytes | None, int, str, bytes | None]:
    """The parameters of the statement that marks a journal; what a row remembers never becomes less."""
    seq, last = (0, None) if reached is None else (reached.seq, reached.hash)
    return seq, last, seq, saga_id, None if seen is None else seen.hash
