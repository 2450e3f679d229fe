"""Random sagas as Hypothesis strategies: series-parallel trees of 2 to 8 steps, of kinds that are legal where they stand.

How deep the search goes is one setting, `SAGA_HYPOTHESIS`: `deep` runs 40 times as many examples (`make search`);
`repeatable` draws the same ones in each run (`tests.conftest`), which is what `.ci/run` wants: a rare finding of the
search must stop the search and not whatever change happened to be tested that day.
"""

import os
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from saga.core.connector import Connector
from saga.core.definition import Kind, Saga, Tree, parallel, sequence
from tests.unit.core.shop import TWO_TRIES, Order, barrier, forgetful, provider, saga_of, step

DEPTH = os.environ.get("SAGA_HYPOTHESIS", "")
if DEPTH not in ("", "deep", "repeatable"):
    raise ValueError(f"SAGA_HYPOTHESIS is deep, repeatable or not set, not {DEPTH!r}")
TIMES = 40 if DEPTH == "deep" else 1
SEARCH = settings(
    max_examples=250 * TIMES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
"""Failures print the seed and the blob that repeat them."""

BEFORE_PIVOT = st.sampled_from([Kind.COMPENSATABLE, Kind.COMPENSATABLE, Kind.READONLY])
AFTER_PIVOT = st.sampled_from([Kind.RETRIABLE, Kind.RETRIABLE, Kind.READONLY])
PARTICIPANTS: st.SearchStrategy[Connector | None] = st.sampled_from(
    [barrier, barrier, barrier, provider, None, forgetful]
)


class _Planting:
    """Draws a tree; `done` are the steps surely done before the next one, whose results it may ask for."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.numbers = count(1)

    def step(self, kind: Kind, done: tuple[str, ...]) -> tuple[Tree, tuple[str, ...]]:
        at = self.draw(PARTICIPANTS)
        options: dict[str, Any] = {"retry": TWO_TRIES, "compensation_retry": TWO_TRIES}
        is_recorded = kind is Kind.RETRIABLE and self.draw(st.booleans())
        if is_recorded:
            options["on_rejected"] = "record"
        if at is not provider and kind is not Kind.PIVOT:
            options["on_unknown"] = self.draw(st.sampled_from(["retry", "compensate", "halt"]))
            if at is None and options["on_unknown"] != "halt":
                options["keys"] = "serialise"
        if at is not None and done:
            options["asks"] = self.draw(st.sampled_from([None, *done]))
        name = f"s{next(self.numbers)}"
        return step(name, kind, at=at, **options), done if is_recorded else (*done, name)

    def tree(
        self, size: int, kinds: st.SearchStrategy[Kind], done: tuple[str, ...]
    ) -> tuple[list[Tree], tuple[str, ...]]:
        """`size` steps, one after another or in branches, nested."""
        if size == 1:
            one, done = self.step(self.draw(kinds), done)
            return [one], done
        first = self.draw(st.integers(1, size - 1))
        is_parallel = self.draw(st.booleans())
        left, after_left = self.tree(first, kinds, done)
        right, after_right = self.tree(size - first, kinds, done if is_parallel else after_left)
        if not is_parallel:
            return [*left, *right], after_right
        branches = [part[0] if len(part) == 1 else sequence(*part) for part in (left, right)]
        return [parallel(*branches)], (*after_left, *after_right[len(done) :])


@st.composite
def sagas(draw: st.DrawFn) -> Saga[Order]:
    """Any definition of 2 to 8 steps that can be built, with or without a pivot."""
    planting = _Planting(draw)
    size = draw(st.integers(2, 8))
    behind = draw(st.integers(0, size - 1))
    steps, done = planting.tree(size - behind, BEFORE_PIVOT, ())
    if behind and draw(st.booleans()):
        pivot, done = planting.step(Kind.PIVOT, done)
        steps.append(pivot)
        behind -= 1
    if behind:
        more, _ = planting.tree(behind, AFTER_PIVOT, done)
        steps += more
    return saga_of(
        *steps,
        deadline_s=draw(st.sampled_from([None, 30.0, 3000.0])),
        parallel_compensation=draw(st.booleans()),
    )
