"""Random schedules of what may happen to a saga, and the end of every schedule: faults stop, everything succeeds.

A schedule is drawn event by event from what is possible: start a node that is ready, end an attempt in flight with any
outcome, let its process die, break its code, deliver an answer of an old epoch, let time pass, cancel, hold, let go.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import count

from hypothesis import note
from hypothesis import strategies as st

from saga.core.definition import Kind, Saga
from saga.core.events import Woken
from saga.core.machine import ready
from saga.core.outcomes import EffectChange, OutcomeCode
from saga.core.states import ENDED, Direction, NodePhase
from tests.unit.core.shop import Order
from tests.unit.core.story import Story, change

CODES = st.sampled_from([*OutcomeCode, *[OutcomeCode.SUCCEEDED] * 12, OutcomeCode.UNKNOWN, OutcomeCode.NOT_SENT])
"""Success more often, so that schedules get far."""
MOMENTS_S = st.sampled_from([0.0, 0.3, 2.0, 12.0, 40.0, 4000.0])


class Run:
    """One story and what may happen to it next."""

    def __init__(self, definition: Saga[Order], data: st.DataObject) -> None:
        self.story = Story(definition)
        self.data = data
        self.lone_workers = count(1)

    @property
    def open_nodes(self) -> list[str]:
        return [name for name, node in self.story.state.nodes.items() if node.phase is NodePhase.OPEN]

    @property
    def is_over(self) -> bool:
        """Ended, or in front of a person with nothing left that the engine does by itself."""
        state = self.story.state
        waits_for_person = state.halt is not None and not state.halt.heals_itself
        is_idle = not self.open_nodes and not self.story.may_start and self.story.due is None
        return state.status in ENDED or (waits_for_person and is_idle)

    def happen(self) -> None:
        """One of all that may happen now; work stands first, so that Hypothesis shrinks towards it."""
        story = self.story
        commands = ready(story.definition, story.state, story.now)
        owners = sorted({story.node(name).owner for name in self.open_nodes})
        choices: list[tuple[str, Callable[[], object]]] = [
            *((f"start {it.node}", partial(self.start, it.node, alone=it.alone)) for it in commands),
            *((f"end {name}", partial(self.end_somehow, name)) for name in self.open_nodes),
            *((f"{owner} dies", partial(story.dies, owner)) for owner in owners),
            ("time passes", self.pass_time),
            ("a late answer", self.late),
            ("rare", self.rarely),
        ]
        what, do = choices[self.data.draw(st.integers(0, len(choices) - 1))]
        note(what)
        do()

    def pass_time(self) -> None:
        self.story.passes(self.data.draw(MOMENTS_S))

    def end_somehow(self, node: str) -> None:
        self.end(node, self.data.draw(CODES))

    def rarely(self) -> None:
        """A cancel, a hold, or code that breaks; each would end most schedules early if it came as often as the rest."""
        dice = self.data.draw(st.integers(0, 5))
        commands = ready(self.story.definition, self.story.state, self.story.now)
        if dice >= 3:
            self.story.cancel()
        elif dice == 2 and commands:
            self.story.breaks(commands[0].node)
        elif dice == 1 and not self.story.state.is_held:
            self.story.holds()
        elif dice == 1:
            self.story.let_go()

    def start(self, node: str, *, alone: bool) -> None:
        shared = self.data.draw(st.sampled_from(["w1", "w2"]))
        self.story.start(node, worker=f"lone-{next(self.lone_workers)}" if alone else shared, alone=alone)

    def end(self, node: str, code: OutcomeCode) -> None:
        effects = self.reported(node) if code is OutcomeCode.SUCCEEDED else None
        self.story.ends(node, code, f"{code} of {node}", effects=effects)

    def reported(self, node: str) -> tuple[EffectChange, ...] | None:
        """What an honest participant reports: one unit taken by a compensatable action, the same unit given back."""
        step, direction = self.story.definition.node(node)
        if step.kind is not Kind.COMPENSATABLE:
            return None
        if direction is Direction.ACTION:
            return (change(unit=step.name),)
        return self.data.draw(st.sampled_from([None, (change(sign=-1, unit=step.name),)]))

    def late(self) -> None:
        """A definite answer for an epoch before the present one."""
        behind = [name for name, node in self.story.state.nodes.items() if node.epoch > 1]
        if behind:
            node = self.data.draw(st.sampled_from(behind))
            self.story.succeeds(node, epoch=self.story.epoch(node) - 1)

    def heal(self) -> int:
        """Faults stop: a person lets go, all that is open or may start succeeds, else time passes until it is due. Gives the
        rounds."""
        rounds = 0
        self.story.let_go()
        while not self.is_over:
            rounds += 1
            assert rounds <= self.bound, f"no end after {rounds} rounds: {self.story.state}"
            for name in self.open_nodes:
                self.end(name, OutcomeCode.SUCCEEDED)
            for command in ready(self.story.definition, self.story.state, self.story.now):
                self.start(command.node, alone=command.alone)
            if not self.open_nodes and self.story.due is not None:
                self.story.now = max(self.story.now + timedelta(seconds=0.001), self.story.due)
                self.story.tell(Woken(self.story.now))
        return rounds

    @property
    def bound(self) -> int:
        """Each node in each direction waits once for its pending or backoff, starts and ends; then it is done."""
        return 4 * 2 * len(self.story.definition.order) + 4
