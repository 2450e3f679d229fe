"""Steps as values: what each does, how it is undone, and which of its options make sense.

Rules of this file: plain immutable values, no registry, no decorator on the user's functions. An option that no machine
could run is refused where the step is written, by name and with what may stand there; what a step is worth in its saga
(order, bindings, effects) is for `saga.core.checks`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property
from typing import Any, Concatenate, Literal, TypedDict, Unpack, get_args, overload

from saga.core.binding import Binding
from saga.core.connector import Call, Connector, Keys, Model, Operation, Res, Undo
from saga.core.options import (
    A_DURATION,
    A_FUNCTION,
    A_NAME,
    A_QUEUE,
    AT_ONCE,
    EXCEPTIONS,
    ROLLBACK,
    Rule,
    a,
    answers_at_once,
    hold,
    is_identifier,
    one_of,
    perhaps,
)
from saga.core.outcomes import Outcome
from saga.core.retry import ACTION_RETRY, COMPENSATION_RETRY, RetryPolicy
from saga.core.states import Direction
from saga.errors import DefinitionError
from saga.words import shown

Action = Callable[..., Any] | Operation[Any, Any]
Compensation = Callable[..., Any] | Undo[Any]
OnUnknown = Literal["retry", "compensate", "halt"]
OnRejected = Literal["halt", "record"]


class StepOptions(TypedDict, total=False):
    """What every kind of step may say; `compensatable` explains them."""

    queue: str
    retry: RetryPolicy
    compensation_retry: RetryPolicy
    timeout_s: float | None
    pending_s: float
    on_unknown: OnUnknown
    on_rejected: OnRejected
    operation: Operation[Any, Any] | None
    keys: Keys
    rejects: tuple[type[Exception], ...]
    classify: Callable[[Exception], Outcome | None] | None


class Kind(StrEnum):
    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"
    READONLY = "readonly"


A_RETRY = a(RetryPolicy, "it is a RetryPolicy, as in RetryPolicy(max_attempts=3)")
_RULES: dict[str, Rule] = {
    "action": A_FUNCTION,
    "compensation": perhaps(a((Callable, Undo), "it is a function, or the undo of an operation")),  # type: ignore[arg-type]
    "queue": A_QUEUE,
    "retry": A_RETRY,
    "compensation_retry": A_RETRY,
    "timeout_s": perhaps(A_DURATION),
    "pending_s": A_DURATION,
    "on_unknown": one_of(*get_args(OnUnknown)),
    "on_rejected": one_of(*get_args(OnRejected)),
    "operation": perhaps(a(Operation, "it is the operation that the function calls, such as bank.post(...)")),
    "keys": one_of(*get_args(Keys)),
    "rejects": EXCEPTIONS,
    "classify": perhaps(
        (answers_at_once, f"it is a function that gives an Outcome for an exception, or None; {AT_ONCE}")
    ),
}


@dataclass(frozen=True)
class Step:
    """One step; made by `compensatable`, `pivot`, `retriable` or `readonly`, completed by `Saga`."""

    name: str
    kind: Kind
    action: Action
    compensation: Compensation | None = None
    queue: str = "saga"
    retry: RetryPolicy = ACTION_RETRY
    compensation_retry: RetryPolicy = COMPENSATION_RETRY
    timeout_s: float | None = None
    pending_s: float = 86_400.0
    on_unknown: OnUnknown = "retry"
    on_rejected: OnRejected = "halt"
    operation: Operation[Any, Any] | None = None
    keys: Keys = "ignored"
    rejects: tuple[type[Exception], ...] = ()
    classify: Callable[[Exception], Outcome | None] | None = None
    # Filled in by Saga:
    after: frozenset[str] = frozenset()
    ancestors: frozenset[str] = frozenset()
    result: type[Model] | None = None
    takes: Binding = Binding()
    compensation_takes: Binding = Binding()
    compensation_operation: Operation[Any, Any] | None = None

    def __post_init__(self) -> None:
        hold(self.name, self, _RULES)

    @cached_property
    def action_node(self) -> str:
        """Id of the node that runs the action: `book_shipment:a`."""
        return f"{self.name}:{Direction.ACTION}"

    @cached_property
    def compensation_node(self) -> str:
        """Id of the node that undoes it: `book_shipment:c`."""
        return f"{self.name}:{Direction.COMPENSATION}"

    def operation_in(self, direction: Direction) -> Operation[Any, Any] | None:
        """The operation called in that direction, when it is a call; an undo is called under its action's operation."""
        if direction is Direction.ACTION or self.is_undone_by_key:
            return self.operation
        return self.compensation_operation

    def connector_in(self, direction: Direction) -> Connector | None:
        operation = self.operation_in(direction)
        return operation.connector if operation else None

    def serialises_in(self, direction: Direction) -> bool:
        """Whether a repeat under the node's key has one effect (a barrier participant, or a function that says so)."""
        connector = self.connector_in(direction)
        return (connector.keys if connector else self.keys) == "serialise"

    def is_repeatable_in(self, direction: Direction) -> bool:
        """Whether an attempt without outcome may simply be made again."""
        return self.serialises_in(direction) or (self.kind is Kind.READONLY and direction is Direction.ACTION)

    def remembers_rejections_in(self, direction: Direction) -> bool:
        """A function step's `Rejected` is its author's word that nothing was done and nothing will be."""
        connector = self.connector_in(direction)
        return connector.remembers_rejections if connector else True

    def wall_s_in(self, direction: Direction) -> float:
        """Seconds one attempt may take."""
        connector = self.connector_in(direction)
        return self.timeout_s or (connector.timeout_s if connector else 30.0)

    def retry_in(self, direction: Direction) -> RetryPolicy:
        return self.retry if direction is Direction.ACTION else self.compensation_retry

    def queue_of(self, direction: Direction) -> str:
        """The Celery queue of the node; compensations have their own so that a backlog forward cannot hold them up."""
        return self.queue if direction is Direction.ACTION else f"{self.queue}{ROLLBACK}"

    @property
    def is_undone_by_key(self) -> bool:
        """Whether the compensation closes the action's key, so that it may run although nobody knows what the action did."""
        return isinstance(self.compensation, Undo)

    def asks_for(self) -> frozenset[str]:
        """The steps whose results the action takes."""
        return frozenset(source for source in self.takes.sources if source)


@dataclass(frozen=True)
class Parallel:
    """Branches that may run at the same time; the next step waits for all of them."""

    branches: tuple["Tree", ...]


@dataclass(frozen=True)
class Series:
    """Steps one after another, as one branch of a `Parallel`."""

    steps: tuple["Tree", ...]


Tree = Step | Parallel | Series


def parallel(*branches: Tree) -> Parallel:
    """Branches without an order between them; a branch of several steps is a `sequence`."""
    return Parallel(branches)


def sequence(*steps: Tree) -> Series:
    """Several steps as one branch."""
    return Series(steps)


def _identifier(path: str) -> str:
    """A name for a step that calls this path, as a suggestion."""
    words = "".join(letter if letter.isalnum() else " " for letter in path.rpartition("/")[2]).split()
    name = "_".join(words).lower()
    return name if name.isidentifier() else "my_step"


def _step(
    kind: Kind, action: Action, name: str | None, options: StepOptions, compensation: Compensation | None = None
) -> Step:
    given_name, name = name, getattr(action, "__name__", "") if name is None else name
    if not is_identifier(name):
        what = f"{action.connector.name} {action.path}" if isinstance(action, Operation) else shown(action)
        example = _identifier(action.path if isinstance(action, Operation) else "")
        has = f"name={shown(name)}; {A_NAME[1]}" if given_name else "no name of its own; give it one"
        msg = f"the {kind} step of {what} has {has}: {kind}(..., name={example!r})"
        raise DefinitionError(msg)
    given: dict[str, Any] = {"compensation": compensation, **options}
    known = [*(["compensation"] if kind is Kind.COMPENSATABLE else []), *StepOptions.__annotations__]
    if unknown := sorted(given.keys() - {*known, "compensation"}):
        near = get_close_matches(unknown[0], [*known, "name"], 1)
        meant = f"did you mean {near[0]!r}? It" if near else "it"
        raise DefinitionError(f"{name}: {kind}(...) has no option {unknown[0]!r}; {meant} has {', '.join(known)}")
    return Step(name, kind, action, **given)


@overload
def compensatable(
    action: Callable[..., Call[Res]] | Operation[Any, Res],
    *,
    compensation: Undo[Res],
    name: str | None = None,
    **options: Unpack[StepOptions],
) -> Step: ...


@overload
def compensatable(
    action: Callable[..., Call[Res]] | Operation[Any, Res] | Callable[..., Res],
    *,
    compensation: Callable[Concatenate[Res, ...], Call[Any]] | Callable[Concatenate[Res, ...], None],
    name: str | None = None,
    **options: Unpack[StepOptions],
) -> Step: ...


@overload
def compensatable(
    action: Callable[..., None],
    *,
    compensation: Callable[..., Call[Any]] | Callable[..., None],
    name: str | None = None,
    **options: Unpack[StepOptions],
) -> Step: ...


def compensatable(
    action: Action,
    *,
    compensation: Compensation | None = None,  # required by the type; a misspelt one is named by `_step`, not by Python
    name: str | None = None,
    **options: Unpack[StepOptions],
) -> Step:
    """A step that can be undone. `compensation` is an undo by key at a barrier participant, else a function that takes
    the action's result first (it runs only when the action is known to be applied, so the result is there).

    Options of every step: `queue`, `retry`, `timeout_s` (one attempt), `pending_s`, `on_unknown` ("retry" repeats where
    the participant serialises keys, "compensate" rolls back after the budget, "halt" accepts that a person settles a lost
    answer), `operation` (when it cannot be seen in the function's code). Of function steps, and of compensations that do their own
    work: `keys="serialise"` states that a repeat under `StepContext.key` has one effect (where it has not, the step says
    `on_unknown="halt"`); `rejects=(OutOfStock,)` and `classify` map their exceptions.
    """
    return _step(Kind.COMPENSATABLE, action, name, options, compensation)


def pivot(
    action: Callable[..., Any] | Operation[Any, Any], *, name: str | None = None, **options: Unpack[StepOptions]
) -> Step:
    """The go/no-go: when it succeeds the saga goes forward only. At most one, never inside `parallel`."""
    return _step(Kind.PIVOT, action, name, options)


def retriable(
    action: Callable[..., Any] | Operation[Any, Any], *, name: str | None = None, **options: Unpack[StepOptions]
) -> Step:
    """A step after the pivot that must in the end succeed; `on_rejected="record"` lets the saga complete without it."""
    return _step(Kind.RETRIABLE, action, name, options)


def readonly(
    action: Callable[..., Any] | Operation[Any, Any], *, name: str | None = None, **options: Unpack[StepOptions]
) -> Step:
    """A step without effect: it may run again at any time and is never undone. A rejection of it still rolls back."""
    return _step(Kind.READONLY, action, name, options)
