"""What can be told to the machine, and what it answers. Events are facts with their instant; commands are imperatives."""

from dataclasses import dataclass
from datetime import datetime

from saga.core.fold import SagaState
from saga.core.outcomes import Outcome, Request
from saga.core.states import HaltReason
from saga.core.transitions import CancelRequested, RollbackRequested, Transition


@dataclass(frozen=True, slots=True)
class Woken:
    """Somebody looks: time may have passed, and the processes in `closed_workers` are gone."""

    at: datetime
    closed_workers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StartAsked:
    """A process wants to start one attempt of a node that is ready, and has its request at hand."""

    at: datetime
    node: str
    owner: str
    deadline_at: datetime
    key: str
    wire_key: str
    request: Request | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class PrepareFailed:
    """The step's own code failed while its request was being made; nothing was sent."""

    at: datetime
    node: str
    detail: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt came to an outcome."""

    at: datetime
    node: str
    epoch: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the saga rolled back."""

    at: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class HoldAsked:
    """The journal may lack what happened after `since`: nothing is to be sent until somebody lets the saga go."""

    at: datetime
    why: HaltReason
    detail: str
    since: datetime


@dataclass(frozen=True, slots=True)
class LetGo:
    """Somebody answers for what the journal may lack; the saga goes on where it was held. `is_past_return`: its step of no return was
    done. `absent`: the nodes of which books have nothing and can get nothing any more, whether the journal has them as sent or not.
    `may_be_past_return`: nobody knows whether its step of no return was sent in what is lost. `cause`: why it had turned round in what
    is lost; `cancel`: who had asked for that."""

    at: datetime
    detail: str
    is_past_return: bool = False
    absent: tuple[str, ...] = ()
    may_be_past_return: bool = False
    cause: RollbackRequested | None = None
    cancel: CancelRequested | None = None


Event = Woken | StartAsked | PrepareFailed | Ended | CancelAsked | HoldAsked | LetGo


@dataclass(frozen=True, slots=True)
class Start:
    """Command: this node may be attempted now, by whoever consumes `queue`."""

    node: str
    queue: str
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one event: transitions to append, the state after them, and what may be started then."""

    transitions: tuple[Transition, ...]
    state: SagaState
    commands: tuple[Start, ...]
