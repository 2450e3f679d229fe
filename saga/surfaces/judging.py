"""What the participants' books show of one saga whose journal may lack what happened, and what follows from that.

Rules of this file
------------------
- That something was done, books say whatever their age. That it was not, they say only where the participant has books here, and only
  once nothing can be on its way any more: workers were stopped before somebody said that a backup was restored, an attempt takes as
  long as its wall, and its participant may apply it so much later (`late_window_s`, `probe_lag_s`).
- An undo in the books is proof that the saga had turned round. So is a step of no return, or one behind it, that it was past return.
- Everything else is a doubt, and a doubt keeps the saga held.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

from saga.core.definition import Kind, Saga, Step
from saga.core.events import LetGo
from saga.core.fold import SagaState
from saga.core.keys import keys_of
from saga.core.machine import GRACE_S, decide
from saga.core.plan import is_past_return, make_plan, may_be_past_return
from saga.core.states import Direction, Effect, NodePhase
from saga.core.transitions import RollbackRequested
from saga.surfaces.ledgers import Ledgers

UNDONE = "the books of its participant have the undo of it"


@dataclass(frozen=True, slots=True)
class Sight:
    """The books beside the journal of one saga. Without books `ledgers` is empty and `read_at` None; `still_since` is None where
    somebody may still send."""

    definition: Saga[Any]
    state: SagaState
    ledgers: Ledgers
    read_at: datetime | None
    still_since: datetime | None

    def key(self, step: Step, direction: Direction) -> str:
        """The key under which a participant was or would be asked."""
        return self.state.node(f"{step.name}:{direction}").wire_key or keys_of(self.state, step, direction)[1]

    def reads(self, step: Step, direction: Direction = Direction.ACTION) -> bool:
        """Whether the participant of it has books here."""
        connector = step.connector_in(direction)
        return connector is not None and self.ledgers.has(connector.name)

    def knows(self, step: Step, direction: Direction = Direction.ACTION) -> bool:
        return self.ledgers.knows(self.key(step, direction))

    def has_done(self, step: Step, direction: Direction = Direction.ACTION) -> bool:
        return self.ledgers.has_done(self.key(step, direction))

    def was_done(self, step: Step) -> bool:
        """Whether the books have the action of it, or of a step that is sent behind it only. What is refused and recorded holds up
        nobody."""
        if step.on_rejected == "record" or step.kind is Kind.READONLY:
            return self.has_done(step)
        return any(self.has_done(it) for it in self.definition.order if it is step or step.name in it.ancestors)

    @property
    def settled_at(self) -> datetime | None:
        """From when on no books get anything of the lost part any more; None: somebody may still send."""
        if self.still_since is None:
            return None
        late_s = max(_late_s(step, direction) for step, direction, _ in _nodes(self.definition))
        return self.still_since + timedelta(seconds=late_s + GRACE_S)

    @property
    def is_settled(self) -> bool:
        """Whether the books were read so late that they show what was not done as well."""
        return self.read_at is not None and self.settled_at is not None and self.read_at >= self.settled_at

    def is_sure(self, step: Step, direction: Direction = Direction.ACTION) -> bool:
        """Whether what its books do not have was not done."""
        return self.is_settled and self.reads(step, direction)

    def is_untouched(self, step: Step, direction: Direction = Direction.ACTION) -> bool:
        """Whether its participant has never heard of it, and will not any more."""
        is_proved = direction is Direction.ACTION and self.was_done(step)
        return self.is_sure(step, direction) and not self.knows(step, direction) and not is_proved


@dataclass(frozen=True, slots=True)
class Judged:
    """A held saga as it stands, what is to be written when it is let go, and how it will stand then."""

    sight: Sight
    said: LetGo
    then: SagaState

    @property
    def turns(self) -> bool:
        """Whether it turns round as soon as it is let go, for a reason of its own."""
        return self.sight.state.cause is None and self.then.cause is not None and self.said.cause is None


def judged(sight: Sight, event: LetGo) -> Judged:
    """What the books make of it. `event` says what a person answers for."""
    definition, state = sight.definition, sight.state
    said = event if sight.read_at is None else _as_books_say(sight, event)
    then = decide(definition, state, said).state
    if state.cause is None and then.cause is None and _may_be_past(sight):
        said = replace(said, may_be_past_return=True)
        then = decide(definition, state, said).state
    return Judged(sight, said, then)


def _late_s(step: Step, direction: Direction) -> float:
    """How long after it was sent its participant may apply it, and have it in its books."""
    connector = step.connector_in(direction)
    return step.wall_s_in(direction) + (connector.late_window_s + connector.probe_lag_s if connector else 0.0)


def _nodes(definition: Saga[Any]) -> Iterator[tuple[Step, Direction, str]]:
    for step in definition.order:
        yield step, Direction.ACTION, step.action_node
        if step.kind is Kind.COMPENSATABLE:
            yield step, Direction.COMPENSATION, step.compensation_node


def _as_books_say(sight: Sight, event: LetGo) -> LetGo:
    """The event with what the books have of the saga and its journal has not, and with what they show as never done."""
    definition, state = sight.definition, sight.state
    undone = next(
        (
            step
            for step, direction, _ in _nodes(definition)
            if direction is Direction.COMPENSATION and state.cause is None and sight.knows(step, direction)
        ),
        None,
    )
    absent = [
        node
        for step, direction, node in _nodes(definition)
        if state.node(node).has_no_answer
        and (sight.is_untouched(step, direction) or (undone is not None and step in definition.no_return))
    ]
    is_past = event.is_past_return or any(sight.was_done(step) for step in definition.no_return)
    cause = RollbackRequested(event.at, "undone", undone.name, UNDONE) if undone else None
    return replace(event, is_past_return=is_past, absent=(*event.absent, *absent), cause=cause)


def _may_be_past(sight: Sight) -> bool:
    """Whether a step of no return may have been sent in what is lost, as far as anybody knows. Where keys are ignored a person or the
    books have said that it was not."""
    return any(
        step.is_repeatable_in(Direction.ACTION)
        and sight.state.node(step.action_node).phase is not NodePhase.DONE
        and not (sight.is_sure(step) and not sight.was_done(step))
        and not _is_out_of_reach(sight, step)
        for step in sight.definition.no_return
    )


def _is_out_of_reach(sight: Sight, step: Step) -> bool:
    """Whether the books show that a step which must be done before it was never done."""
    before = (sight.definition.by_name[name] for name in step.ancestors)
    return any(
        it.kind is not Kind.READONLY
        and it.on_rejected != "record"
        and sight.is_sure(it)
        and sight.state.node(it.action_node).phase is not NodePhase.DONE
        and not sight.was_done(it)
        for it in before
    )


def found(said: LetGo) -> Iterator[str]:
    """What the books have that the journal has not, in words; whoever lets it go need not remember it."""
    if said.is_past_return:
        yield "its step of no return was done"
    if said.cause:
        yield f"the books have the undo of {said.cause.step}, so it was rolled back"


def contradictions(it: Judged) -> Iterator[str]:
    """What no order of this program can have come to, and what it would come to over its step of no return."""
    if it.then.is_past_return and it.then.cause is not None:
        both, over = (
            "no order of this program has both",
            "its step of no return was done, and it would be rolled back over that",
        )
        yield both if it.said.cause else over


def unsettled(it: Judged) -> str:
    """Until when books that were read may get more of the lost part; empty when they may not, or none were read."""
    settled_at = it.sight.settled_at
    if it.sight.read_at is None or settled_at is None or it.sight.is_settled:
        return ""
    return f"what was sent may be on its way until {settled_at:%H:%M:%S} UTC"


def doubts(it: Judged, options: str = "") -> Iterator[str]:
    """What may have been done in the lost part and would be done again, or gone on over, if the saga went on; of what the journal
    has as done there is none. What its plan names is compensated, whether it was done or not. `options`: those that name its
    definition, for what is to be typed."""
    sight, state = it.sight, it.then
    if it.turns:
        yield from _no_way_back(sight, options)
    for step, direction, node in _nodes(sight.definition):
        if state.node(node).phase is NodePhase.DONE:
            continue
        if not step.is_repeatable_in(direction):
            yield from _doubt(sight, step, direction, "")
        elif direction is Direction.COMPENSATION and _may_be_gone_over(sight.definition, state, step):
            cancel = f'SAGA_TENANT={quote(state.tenant)} saga cancel {state.saga_id}{options} --reason "…"'
            then = (
                f'it was rolled back, so type  {cancel}  and then  saga db let-go {state.saga_id}{options} --reason "…"'
            )
            if may_be_past_return(sight.definition, state):
                then = (
                    "it was rolled back; its step of no return may have been sent as well, so a cancel does not roll it back "
                    "until the books show that it was not"
                )
            yield from _doubt(sight, step, direction, then)


def _may_be_gone_over(definition: Saga[Any], state: SagaState, step: Step) -> bool:
    """Whether the saga may go forward over a compensation that was done. An undo by key closes the key of its action, which meets
    that when it is sent; any other leaves it open, and the action is answered as if nothing had been undone. What the journal has
    as done is not sent again, and meets nothing. A saga that had turned round does not go forward, and one that is past the
    point of no return was never rolled back."""
    is_one_way = state.cause is not None or is_past_return(definition, state)
    is_closed = step.is_undone_by_key and state.node(step.action_node).phase is not NodePhase.DONE
    return not is_one_way and not is_closed


def _no_way_back(sight: Sight, options: str) -> Iterator[str]:
    """Steps of no return that may have been sent, of a saga that turns round as soon as it is let go."""
    for step in sight.definition.no_return:
        if step.is_repeatable_in(Direction.ACTION):  # `doubts` asks of the others
            again = f'saga db let-go {sight.state.saga_id}{options} --past-return --reason "…"'
            yield from _doubt(sight, step, Direction.ACTION, f"it must not be rolled back: {again}")


def _doubt(sight: Sight, step: Step, direction: Direction, then: str) -> Iterator[str]:
    """`then` is what to do if it was sent."""
    connector, node = step.connector_in(direction), f"{step.name}:{direction}"
    if connector is None or not sight.reads(step, direction):
        who = connector.name if connector else "the step's own function"
        yield f"{node} may have been sent, and {who} has no ledger to look at{then and f'; if it was, {then}'}"
    elif sight.knows(step, direction):
        yield f"{node} was sent: {connector.name} has key {sight.key(step, direction)} in its books{then and f'; {then}'}"


def would_be_wrong(it: Judged, *, is_not_done: bool) -> Iterator[str]:
    """What the books (or the person) have as done, and the saga would do again, or not undo; and what nobody has answered for."""
    sight, then = it.sight, it.then
    plan = then.plan if then.plan is not None or then.cause is None else make_plan(sight.definition, then)
    planned = {entry.step for entry in plan or ()}
    for step, direction, node in _nodes(sight.definition):
        is_action = direction is Direction.ACTION
        is_done = _is_proved(it, step) if is_action else sight.has_done(step, direction)
        if not is_done or sight.state.node(node).phase is NodePhase.DONE:
            continue
        is_sent = then.cause is None if is_action else step.name in planned
        if is_sent and not step.is_repeatable_in(direction):
            yield f"{node} was done, and would be done again: its participant ignores keys; leave it halted and end it by hand"
        is_left = step.kind is Kind.COMPENSATABLE and is_action and step.name not in planned
        if is_left and then.cause is not None and not sight.knows(step, Direction.COMPENSATION):
            yield f"{step.name} was done, and its rollback would not undo it; leave it halted and end it by hand"
    for node in () if is_not_done else open_nodes(it):
        yield f"{node} was sent and nobody knows what came of it: if it was not done, say --not-done; else leave it halted"


def _is_proved(it: Judged, step: Step) -> bool:
    """Whether its action was done: the books have it, or a step behind it, or the step of no return was done."""
    no_return = it.sight.definition.no_return
    is_before = all(step in no_return or step.name in other.ancestors for other in no_return)
    is_passed = it.then.is_past_return and is_before and step.on_rejected != "record"
    return is_passed or it.sight.was_done(step)


def open_nodes(it: Judged) -> list[str]:
    """What the journal has as sent without an answer, and nobody may repeat."""
    state = it.sight.state
    return [
        node
        for step, direction, node in _nodes(it.sight.definition)
        if (state.node(node).phase is NodePhase.OPEN or state.node(node).effect is Effect.UNKNOWN)
        and state.node(node).has_no_answer
        and node not in it.said.absent
        and not step.is_repeatable_in(direction)
    ]
