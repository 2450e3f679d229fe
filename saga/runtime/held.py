"""What the driver holds of a saga between two steps: its inbox, the append in flight, and how often that was tried."""

from dataclasses import dataclass, field, replace

from saga.core.events import Ended, Event, PrepareFailed, Start, StartAsked
from saga.core.fold import SagaState
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.transitions import Transition
from saga.runtime.engine import Loaded, Written

ALONE_AND_REFUSED = 2
REFUSED = "the database refuses the data of this request or answer (a NUL character, a number out of range)"


@dataclass(frozen=True, slots=True)
class Tries:
    """How often these events were decided before. After one refusal they are decided one by one, each in an append of its
    own and nothing started beside them, so that innocent outcomes are kept as they are; what is refused by itself as well
    becomes a defect."""

    refusal_count: int = 0
    is_message: bool = False
    """Whether a message began this: a driver that does not go on starts nothing without one."""
    why: str = REFUSED
    """What was said of the data that was refused."""


@dataclass(slots=True)
class Draft:
    events: list[Event]
    written: Written
    transitions: list[Transition]
    tries: Tries
    commands: tuple[Start, ...]


@dataclass(slots=True)
class Held:
    loaded: Loaded
    draft: Draft | None = None
    inbox: list[Event] = field(default_factory=list)
    call_count: int = 0
    commands: tuple[Start, ...] = ()
    """What may be started now, as of the last decision; starting one is decided again."""


FIRST_TRY = Tries()


def storable(event: Event, tries: Tries) -> Event:
    """The event as it may be decided after that many refusals by the database; see `Tries`."""
    if tries.refusal_count < ALONE_AND_REFUSED:
        return event
    if isinstance(event, StartAsked):
        return PrepareFailed(event.at, event.node, tries.why)
    if isinstance(event, Ended):
        return replace(event, outcome=Outcome(OutcomeCode.DEFECT, tries.why))
    return event


def is_of(state: SagaState, ended: Ended, worker_id: str) -> bool:
    """Whether an outcome may be told to a saga that was read anew: not where another process has claimed that epoch since, whose
    open attempt it would end."""
    node = state.node(ended.node)
    return node.epoch != ended.epoch or node.owner == worker_id
