"""A saga as a value: its steps and their order. What users import of definitions stands here.

`Saga(...)` either is runnable or raises `DefinitionError` with what to write instead (`saga.core.checks`); what a step
may say of itself is in `saga.core.steps`.

The graph of a saga is series-parallel, so it is kept as one set per step: the steps that must be done before it
(`Step.after`). Steps stand in `Saga.order` in the order of the definition, depth first; reversed, that is the order of
rollback, whatever order the steps really ended in.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

from saga.core.checks import checked
from saga.core.connector import Model
from saga.core.fingerprint import fingerprint
from saga.core.options import (
    A_DURATION,
    A_FLAG,
    A_NAME,
    AT_ONCE,
    Rule,
    a,
    answers_at_once,
    hold,
    is_count,
    is_identifier,
    perhaps,
)
from saga.core.projection import Projection
from saga.core.states import Direction
from saga.core.steps import (
    Kind,
    Parallel,
    Series,
    Step,
    Tree,
    compensatable,
    parallel,
    pivot,
    readonly,
    retriable,
    sequence,
)
from saga.errors import DefinitionError
from saga.words import shown

__all__ = [
    "Kind",
    "Parallel",
    "Saga",
    "Series",
    "Step",
    "Tree",
    "compensatable",
    "parallel",
    "pivot",
    "readonly",
    "retriable",
    "sequence",
]

In = TypeVar("In", bound=Model)
_PRINT = re.compile(r"[0-9a-f]{64}")


def _is_print(row: tuple[object, object]) -> bool:
    version, of = row
    return is_count(version) and isinstance(of, str) and _PRINT.fullmatch(of) is not None


_RULES: dict[str, Rule] = {
    "name": (is_identifier, f"{A_NAME[1]}, as in 'place_order'"),
    "version": (is_count, "it is a whole number, 1 or more"),
    "entity": (answers_at_once, f"it is a function of the input, such as lambda order: order.order_id; {AT_ONCE}"),
    "steps": (lambda steps: isinstance(steps, list | tuple) and len(steps) > 0, "it is a list of one step or more"),
    "deadline_s": perhaps(A_DURATION),
    "parallel_compensation": A_FLAG,
    "continues": (
        lambda prints: isinstance(prints, Mapping) and all(map(_is_print, prints.items())),
        "it maps an earlier version to the fingerprint that is stored for it, 64 hex digits, as in {1: '6dab…'}",
    ),
    "on_change": perhaps(a(Projection, "it is a Projection: the table, its columns, and the functions that fill them")),
}


@dataclass(frozen=True, eq=False)
class Saga(Generic[In]):
    """A definition. `entity` names the business object (its order id): one live saga per entity.

    `deadline_s` bounds the time until the pivot; a saga that is late is rolled back with cause `deadline`. With
    `parallel_compensation` branches that were parallel forward are undone together. `on_change` keeps a row of a table beside
    the journal, in the transaction of each decision. `continues` names earlier versions, each with the fingerprint that is stored
    for it, whose sagas run by these steps: only schemas differ, and the models read all that the earlier ones wrote.
    Raises `DefinitionError` when it could not run.
    """

    name: str
    version: int
    input: type[In]
    entity: Callable[[In], str]
    steps: Sequence[Tree]
    deadline_s: float | None = None
    parallel_compensation: bool = False
    on_change: Projection | None = None
    continues: Mapping[int, str] = field(default_factory=dict)
    order: tuple[Step, ...] = field(init=False)
    by_name: dict[str, Step] = field(init=False)
    fingerprint: str = field(init=False)
    pivot: Step | None = field(init=False)

    def __post_init__(self) -> None:
        hold(f"saga {shown(self.name)}", self, _RULES)
        order: list[Step] = []
        _place(Series(tuple(self.steps)), frozenset(), {}, order)
        if not order:
            raise DefinitionError(f"saga {self.name!r} has no step")
        steps = checked(self.name, self.input, order)
        self._set(order=steps, by_name={step.name: step for step in steps})
        self._set(pivot=next((step for step in steps if step.kind is Kind.PIVOT), None))
        self._set(fingerprint=fingerprint(self))
        if not all(version < self.version for version in self.continues):
            raise DefinitionError(f"saga {self.name!r}: continues names versions before {self.version}")

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @cached_property
    def earlier(self) -> "tuple[Saga[In], ...]":
        """The definitions of the versions that this one continues: the same steps, under the stored fingerprint."""
        return tuple(self._as(version, of) for version, of in sorted(self.continues.items()))

    def _as(self, version: int, stored: str) -> "Saga[In]":
        twin = replace(self, version=version, continues={})
        object.__setattr__(twin, "fingerprint", stored)
        return twin

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
    found: object = tree
    if not isinstance(found, Parallel):
        msg = f"{shown(found)} is no step; write what kind of step it is: compensatable, pivot, retriable or readonly"
        raise DefinitionError(msg)
    if len(tree.branches) < 2:
        msg = "parallel(...) needs two branches or more; write the one step without it"
        raise DefinitionError(msg)
    return frozenset().union(*(_place(branch, after, above, order) for branch in tree.branches))
