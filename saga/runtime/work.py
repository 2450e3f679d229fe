"""The values that go into and come out of the driver; adapters carry them and decide nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from saga.core.definition import Saga, Step
from saga.core.fold import SagaState
from saga.core.outcomes import Outcome, Request
from saga.core.states import Direction, NodePhase
from saga.core.transitions import SagaHalted
from saga.log import logger
from saga.runtime.engine import Loaded
from saga.store.journal import JournalEntry
from saga.store.port import (
    Append,
    AppendResult,
)

IDS_PER_MESSAGE = 32
SAGA_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class Call:
    """Instruction to the executor: make this attempt; its claim is durable."""

    saga: Saga[Any]
    state: SagaState
    step: Step
    direction: Direction
    node: str
    epoch: int
    deadline_at: datetime
    request: Request | None
    wire_key: str


@dataclass(frozen=True, slots=True)
class EndedCall:
    """What the executor brings back."""

    saga_id: str
    node: str
    epoch: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Committed:
    """What the committer brings back for one append; `tail` holds the others' entries after a conflict."""

    saga_id: str
    result: AppendResult
    tail: Sequence[JournalEntry] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """Somebody says that this saga wants a look: the saga as its journal says, and which of its owners are gone."""

    saga_id: str
    loaded: Loaded
    closed_workers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Hint:
    """A node that is ready and that this process does not run: wake somebody who does."""

    saga_id: str
    task: str
    queue: str


def ids_in(argument: object) -> list[str]:
    """The saga ids of what came as a hint, from anybody; empty for what is none."""
    if not isinstance(argument, list) or not 1 <= len(argument) <= IDS_PER_MESSAGE:
        return []
    ids = [it for it in argument if isinstance(it, str) and SAGA_ID.fullmatch(it)]
    return ids if len(ids) == len(argument) else []


@dataclass(frozen=True, slots=True)
class Work:
    """What one step of the driver wants done."""

    calls: list[Call] = field(default_factory=list)
    appends: list[Append] = field(default_factory=list)
    hints: list[Hint] = field(default_factory=list)
    not_here: list[str] = field(default_factory=list)
    """Sagas with a node that another process may run and this one may not: an earlier attempt of it still takes a thread
    here."""
    rests: list[tuple[str, datetime]] = field(default_factory=list)
    """Sagas that were looked at too early, and when they are really due."""
    behind: list[Loaded] = field(default_factory=list)
    """Sagas as this process knew them, whose journals have lost entries since; to be judged, and read anew."""
    halts: list[tuple[SagaState, SagaHalted]] = field(default_factory=list)
    """Sagas that came to stand in front of a person or of a participant that is down, for the log; already journalled."""
    troubles: list[str] = field(default_factory=list)
    """Sagas that could not be worked on, for the log: one bad row never stops the scan."""


def log_of(work: Work) -> None:
    """Tell the log what people should hear of."""
    for state, halt in work.halts:
        logger.warning("saga_halted", saga_id=state.saga_id, entity=state.entity, reason=halt.reason, node=halt.node)
    for trouble in work.troubles:
        logger.error("saga_left_alone", trouble=trouble)


def task_name(saga: str, node: str) -> str:
    """The Celery name of a node: `<saga>.<step>` or `<saga>.<step>.compensation`."""
    step, _, direction = node.rpartition(":")
    return f"{saga}.{step}" if direction == Direction.ACTION else f"{saga}.{step}.compensation"


@dataclass(frozen=True)
class Limits:
    """How much of this process the driver may use. Counts; `slots` are claims in flight, `threads` run them."""

    slots: int = 32
    threads: int = 8
    held: int = 256


def open_owners(state: SagaState) -> set[str]:
    """The workers that hold an open attempt of this saga."""
    return {node.owner for node in state.nodes.values() if node.phase is NodePhase.OPEN}
