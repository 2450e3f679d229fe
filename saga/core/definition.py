"""A saga as a value: steps, their order, and what is checked when it is built.

Rules of this file: plain immutable values, no registry, no decorator on the user's functions, no import of anything the
definition does not name. `Saga(...)` either is runnable or raises `DefinitionError` with what to write instead. The
shape `(compensatable | readonly)* pivot? (retriable | readonly)*` is what makes rollback decidable (Richardson,
*Microservices Patterns*, ch. 4): before the pivot everything can be undone, after it everything must succeed.

The graph of a saga is series-parallel, so it is kept as one set per step: the steps that must be done before it
(`Step.after`). Steps stand in `Saga.order` in the order of the definition, depth first; reversed, that is the order of
rollback, whatever order the steps really ended in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from saga.core.binding import Binding, bind, called_operation, is_model, result_model
from saga.core.connector import Call, Connector, Keys, Model, Operation, Res, Undo
from saga.core.fingerprint import fingerprint
from saga.core.outcomes import Outcome
from saga.core.retry import ACTION_RETRY, COMPENSATION_RETRY, RetryPolicy
from saga.core.states import Direction
from saga.errors import DefinitionError

In = TypeVar("In", bound=Model)
Action = Callable[..., Any] | Operation[Any, Any]
Compensation = Callable[..., Any] | Undo[Any]


class Kind(StrEnum):
    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"
    READONLY = "readonly"


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
    on_unknown: Literal["retry", "compensate", "halt"] = "retry"
    on_rejected: Literal["halt", "record"] = "halt"
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
        if direction is Direction.ACTION or isinstance(self.compensation, Undo):
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
        return self.queue if direction is Direction.ACTION else f"{self.queue}.rollback"

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


def _step(kind: Kind, action: Action, name: str | None, options: dict[str, Any]) -> Step:
    name = name or getattr(action, "__name__", "")
    if not name or not name.isidentifier():
        what = f"{action.connector.name} {action.path}" if isinstance(action, Operation) else f"{action!r:.100}"
        example = _identifier(action.path if isinstance(action, Operation) else "")
        msg = f"the {kind} step of {what} has no name of its own; give it one: {kind}(..., name={example!r})"
        raise DefinitionError(msg)
    return Step(name, kind, action, **options)


def compensatable(
    action: Callable[..., Call[Res]] | Operation[Any, Res] | Callable[..., Res],
    *,
    compensation: Undo[Res] | Callable[..., Call[Any]] | Callable[..., None],
    name: str | None = None,
    **options: Any,
) -> Step:
    """A step that can be undone. `compensation` is an undo by key at a barrier participant, else a function that takes
    the action's result (it runs only when the action is known to be applied, so the result is there).

    Options of every step: `queue`, `retry`, `timeout_s` (one attempt), `pending_s`, `on_unknown` ("retry" repeats where
    the participant serialises keys, "compensate" rolls back after the budget, "halt" accepts that a person settles a lost
    answer), `operation` (when it cannot be seen in the function's code). Of function steps: `keys="serialise"` states
    that a repeat under `StepContext.key` has one effect; `rejects` and `classify` map their exceptions.
    """
    return _step(Kind.COMPENSATABLE, action, name, {"compensation": compensation, **options})


def pivot(action: Callable[..., Any] | Operation[Any, Any], *, name: str | None = None, **options: Any) -> Step:
    """The go/no-go: when it succeeds the saga goes forward only. At most one, never inside `parallel`."""
    return _step(Kind.PIVOT, action, name, options)


def retriable(action: Callable[..., Any] | Operation[Any, Any], *, name: str | None = None, **options: Any) -> Step:
    """A step after the pivot that must in the end succeed; `on_rejected="record"` lets the saga complete without it."""
    return _step(Kind.RETRIABLE, action, name, options)


def readonly(action: Callable[..., Any] | Operation[Any, Any], *, name: str | None = None, **options: Any) -> Step:
    """A step without effect: it may run again at any time and is never undone. A rejection of it still rolls back."""
    return _step(Kind.READONLY, action, name, options)


@dataclass(frozen=True, eq=False)
class Saga(Generic[In]):
    """A definition. `entity` names the business object (its order id): one live saga per entity.

    `deadline_s` bounds the time until the pivot; a saga that is late is rolled back with cause `deadline`. With
    `parallel_compensation` branches that were parallel forward are undone together.
    Raises `DefinitionError` when it could not run.
    """

    name: str
    version: int
    input: type[In]
    entity: Callable[[In], str]
    steps: Sequence[Tree]
    deadline_s: float | None = None
    parallel_compensation: bool = False
    order: tuple[Step, ...] = field(init=False)
    by_name: dict[str, Step] = field(init=False)
    fingerprint: str = field(init=False)
    pivot: Step | None = field(init=False)

    def __post_init__(self) -> None:
        is_numbered = str(self.version).isdecimal() and self.version >= 1
        if not self.name.isidentifier() or not is_numbered or not self.steps:
            msg = f"saga {self.name!r} v{self.version!r}: needs a name that is an identifier, a version >= 1 and a step"
            raise DefinitionError(msg)
        order: list[Step] = []
        _place(Series(tuple(self.steps)), frozenset(), {}, order)
        checked = _check(self, order)
        self._set(order=checked, by_name={step.name: step for step in checked})
        self._set(pivot=next((step for step in checked if step.kind is Kind.PIVOT), None))
        self._set(fingerprint=fingerprint(self))

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @cached_property
    def no_return(self) -> tuple[Step, ...]:
        """The steps whose start is the point of no return: the pivot, or without one every retriable step, since what it
        does cannot be undone."""
        if self.pivot is not None:
            return (self.pivot,)
        return tuple(step for step in self.order if step.kind is Kind.RETRIABLE)

    def after_pivot(self, step: Step) -> bool:
        """Whether `step` can only run once a step of no return has succeeded."""
        return not self._no_return_names.isdisjoint(step.ancestors)

    @cached_property
    def _no_return_names(self) -> frozenset[str]:
        return frozenset(point.name for point in self.no_return)

    def node(self, node: str) -> tuple[Step, Direction]:
        """The step and direction of a node id such as `book_shipment:c`."""
        name, _, direction = node.rpartition(":")
        return self.by_name[name], Direction(direction)


def _place(tree: Tree, after: frozenset[str], above: dict[str, frozenset[str]], order: list[Step]) -> frozenset[str]:
    """Append the steps of `tree` to `order` with what must be done before each; the exits of `tree`."""
    if isinstance(tree, Step):
        ancestors = after.union(*(above[name] for name in after))
        if tree.name in above:
            msg = f"two steps are called {tree.name}: give one of them name='...'"
            raise DefinitionError(msg)
        above[tree.name] = ancestors
        order.append(replace(tree, after=after, ancestors=ancestors))
        return frozenset({tree.name})
    if isinstance(tree, Series):
        for step in tree.steps:
            after = _place(step, after, above, order)
        return after
    if len(tree.branches) < 2:
        msg = "parallel(...) needs two branches or more; write the one step without it"
        raise DefinitionError(msg)
    return frozenset().union(*(_place(branch, after, above, order) for branch in tree.branches))


def _check(saga: Saga[Any], order: list[Step]) -> tuple[Step, ...]:
    _check_shape(saga, order)
    _check_model(saga.input, f"{saga.name}: input")
    known: dict[str, type[Model]] = {}
    done: list[Step] = []
    for step in order:
        operation = (
            step.action if isinstance(step.action, Operation) else step.operation or called_operation(step.action)
        )
        model = operation.result if operation else result_model(step.action, step.name)
        if operation:
            _check_model(operation.result, f"{step.name}: the result of {operation}")
        visible = {name: known[name] for name in known if name in step.ancestors}
        bound = replace(step, operation=operation, result=model)
        bound = replace(bound, takes=bind(bound.action, saga.input, visible, step.name))
        if bound.compensation is not None:
            own = {**visible, **({step.name: model} if model else {})}
            takes = _bind_compensation(bound, saga.input, own, order)
            calls = called_operation(bound.compensation)
            bound = replace(bound, compensation_takes=takes, compensation_operation=calls)
        if model and step.on_rejected != "record":
            known[step.name] = model
        _check_effectful(bound)
        done.append(bound)
    return tuple(done)


def _check_model(model: object, what: str) -> None:
    if not is_model(model):
        msg = f"{what} must be a JSON model (a pydantic model), not {model!r}"
        raise DefinitionError(msg)


def _check_shape(saga: Saga[Any], order: list[Step]) -> None:
    pivots = [step for step in order if step.kind is Kind.PIVOT]
    if len(pivots) > 1:
        msg = f"{saga.name}: two pivots ({pivots[0].name}, {pivots[1].name}); there is one point of no return"
        raise DefinitionError(msg)
    for step in order:
        if step.on_rejected == "record" and step.kind is not Kind.RETRIABLE:
            msg = f"{step.name}: on_rejected='record' is for retriable steps; the rejection of a {step.kind} rolls back"
            raise DefinitionError(msg)
        if step.kind is Kind.PIVOT and (step.compensation is not None or step.on_unknown == "compensate"):
            msg = f"{step.name}: a pivot is never compensated; make it compensatable, or drop its compensation policy"
            raise DefinitionError(msg)
        if step.kind is Kind.COMPENSATABLE and step.compensation is None:
            msg = f"{step.name}: compensatable(...) without compensation; name its undo, or say what it is: readonly, retriable"
            raise DefinitionError(msg)
        if pivots and step is not pivots[0]:
            _check_side_of_pivot(pivots[0], step)
    if not pivots:
        _check_without_pivot(saga, order)


def _check_side_of_pivot(the_pivot: Step, step: Step) -> None:
    is_before, is_after = step.name in the_pivot.ancestors, the_pivot.name in step.ancestors
    if not is_before and not is_after:
        msg = f"{the_pivot.name}: a pivot inside parallel(...) beside {step.name}; put it behind the join"
        raise DefinitionError(msg)
    if is_before and step.kind is Kind.RETRIABLE:
        msg = f"{step.name} is retriable and stands before the pivot {the_pivot.name}; only compensatable and readonly may"
        raise DefinitionError(msg)
    if is_after and step.kind is Kind.COMPENSATABLE:
        msg = (
            f"{step.name} is compensatable and stands after the pivot {the_pivot.name}; only retriable and readonly may"
        )
        raise DefinitionError(msg)


def _check_without_pivot(saga: Saga[Any], order: list[Step]) -> None:
    for step in order:
        late = [other.name for other in order if other.kind is Kind.COMPENSATABLE and other.name not in step.ancestors]
        if step.kind is Kind.RETRIABLE and late:
            msg = (
                f"{saga.name}: {late[0]} is compensatable and stands after or beside the retriable {step.name}, which cannot "
                "be rolled back; put it before"
            )
            raise DefinitionError(msg)


def _check_effectful(step: Step) -> None:
    """An effect must be repeatable or be settled by a person, in both directions; a readonly step must have none."""
    if step.kind is Kind.READONLY:
        if step.operation is not None and step.operation.has_effect:
            msg = (
                f"{step.name}: {step.operation} has an effect, so the step is not readonly; say what it is (compensatable, "
                f"pivot, retriable), or make the operation with {step.operation.connector.name}.query(...) if it has none"
            )
            raise DefinitionError(msg)
        return
    for direction in Direction:
        operation = step.operation_in(direction)
        if operation is None or step.serialises_in(direction) or step.on_unknown == "halt":
            continue
        msg = (
            f"{step.name}: {operation} has an effect, and connector {operation.connector.name} has "
            f"keys={operation.connector.keys!r}, so a lost answer cannot be settled by asking again. State keys='serialise' "
            "if the participant has a barrier, or write on_unknown='halt' to have a person settle each"
        )
        raise DefinitionError(msg)


def _bind_compensation(step: Step, input_model: type[Model], own: dict[str, type[Model]], order: list[Step]) -> Binding:
    compensation = step.compensation
    if not isinstance(compensation, Undo):
        return bind(compensation, input_model, own, f"{step.name} (compensation)")
    if step.operation is None or compensation.of != step.operation:
        does = str(step.operation) if step.operation else "a function's own work"
        right = [
            other.name
            for other in order
            if other.operation == compensation.of or called_operation(other.action) == compensation.of
        ]
        hint = f" It undoes step {right[0]}." if right else ""
        msg = f"{step.name}: compensation {compensation.path} undoes {compensation.of}, but the step does {does}.{hint}"
        raise DefinitionError(msg)
    return Binding()
