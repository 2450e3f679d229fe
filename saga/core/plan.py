"""The rollback plan: a pure function of definition and journal, and which of its entries may run now.

The plan holds every compensatable step whose effect is applied or unknown, in reverse order of the *definition*. The
order in which parallel branches really ended is a race and never enters it, so the same facts give the same plan on
every machine. What becomes of a step whose effect is unknown is chosen by what its compensation is, and by what the
participant (or the function itself) makes of a repeat:

| the compensation               | keys are serialised                                            | elsewhere                    |
|--------------------------------|----------------------------------------------------------------|------------------------------|
| undo by key (`connector.undo`) | `compensate`: a tombstone closes the key for a late action     | refused when it is built     |
| any other                      | `repeat`: the same bytes again until answered, then compensate | `settle`: a person finds out |

Only an undo by key closes anything. Any other compensation, run blind, may come before an action that is still on its way:
that is applied behind it, in a saga that says that all is undone. Or it lacks the result that it asks for.

A repeat is the one action that is sent after the saga turned round. It may be what applies the action for the first time; its
compensation follows in the same entry.

The journal of a saga that was held and let go may lack its last sends. So a step that it does not have as sent, or as sent in
vain, may have been applied after all, and enters the plan as one whose effect is unknown, where that is a matter for the engine:
an undo by key does no harm where nothing was done, and a repeat is made where what it asks for is known. At a participant that
ignores keys whoever let it go has answered that nothing was done. Elsewhere only a rejection says so, its own or that of a step before it under a key.

Entries run one at a time, in plan order. An entry that is stuck blocks only those entries whose results the stuck
step's action had asked for (an unfinished void must not leave the stock of an unrelated branch reserved), and what is
blocked blocks in turn.
"""

from typing import Any

from saga.core.definition import Kind, Saga, Step
from saga.core.fold import NodeState, SagaState
from saga.core.outcomes import TOMBSTONED, OutcomeCode
from saga.core.states import Direction, Effect, EntryState, NodePhase
from saga.core.transitions import PlannedEntry

SETTLED = frozenset({EntryState.COMPENSATED, EntryState.NULL})


def action_of(step: Step) -> str:
    return step.action_node


def compensation_of(step: Step) -> str:
    return step.compensation_node


def make_plan(definition: Saga[Any], state: SagaState) -> tuple[PlannedEntry, ...]:
    """Every entry of the rollback of `state`, first to last."""
    entries = []
    for step in reversed(definition.order):
        mode = _mode(definition, state, step) if step.kind is Kind.COMPENSATABLE else None
        if mode is not None:
            entries.append(PlannedEntry(step.name, mode))
    return tuple(entries)


def _mode(definition: Saga[Any], state: SagaState, step: Step) -> str | None:
    """How the entry of a step is worked on; None: nothing was done."""
    node = state.node(action_of(step))
    if node.effect is Effect.APPLIED:
        return "compensate"
    if not step.serialises_in(Direction.ACTION):
        return None if node.effect is Effect.ABSENT else "settle"
    if node.effect is Effect.ABSENT and not (state.may_lack and _may_be_sent(definition, state, step)):
        return None
    if step.is_undone_by_key:
        return "compensate"
    sources = {*(() if node.epoch else step.takes.sources), *step.compensation_takes.sources} - {step.name}
    is_askable = all(state.node(f"{name}:{Direction.ACTION}").result for name in sources if name)
    return "repeat" if is_askable else "settle"


def _may_be_sent(definition: Saga[Any], state: SagaState, step: Step) -> bool:
    """Whether it may have been sent in what the journal lacks: no "no" says that it was not. One that it was answered itself does;
    so does one before it under a key, since what had been applied under that would have been answered as that. A readonly step
    answers anew each time, and a tombstone says that there was a rollback, and not how far the saga had come. Books that have nothing
    of it say it as well."""
    if action_of(step) in state.absent:
        return False
    before = [definition.by_name[name] for name in step.ancestors]
    keyed = [it for it in before if it.kind is not Kind.READONLY and it.serialises_in(Direction.ACTION)]
    nodes = [state.node(action_of(it)) for it in keyed]
    is_refused = any(node.code is OutcomeCode.REJECTED and node.detail != TOMBSTONED for node in nodes)
    return state.node(action_of(step)).code is not OutcomeCode.REJECTED and not is_refused


def node_of_entry(state: SagaState, step: Step, mode: str) -> tuple[str, Direction]:
    """The node whose turn it is in an entry of the plan: the action as long as it is to be repeated, then the compensation."""
    if mode == "repeat" and state.node(action_of(step)).effect is not Effect.APPLIED:
        return action_of(step), Direction.ACTION
    return compensation_of(step), Direction.COMPENSATION


def has_reached_no_return(definition: Saga[Any], state: SagaState) -> bool:
    """Whether a step of no return was started at all, or may have been in what the journal lacks."""
    nodes = [state.node(action_of(step)) for step in definition.no_return]
    is_told = state.is_past_return or state.may_be_past_return
    return is_told or any(node.phase is not NodePhase.WAITING for node in nodes)


def may_be_past_return(definition: Saga[Any], state: SagaState) -> bool:
    """Whether a step of no return may have happened: started, and not proved to have done nothing."""
    nodes = [state.node(action_of(step)) for step in definition.no_return]
    return state.is_past_return or any(node.phase is not NodePhase.WAITING and not _did_nothing(node) for node in nodes)


def is_past_return(definition: Saga[Any], state: SagaState) -> bool:
    """Whether a step of no return has succeeded: forward only."""
    nodes = [state.node(action_of(step)) for step in definition.no_return]
    return state.is_past_return or any(node.phase is NodePhase.DONE for node in nodes)


def _did_nothing(node: NodeState) -> bool:
    return node.effect is Effect.ABSENT and node.phase in (NodePhase.BACKOFF, NodePhase.FAILED)


def is_settling(state: SagaState) -> bool:
    """Whether an attempt of an action is still in flight after the saga turned round."""
    return any(node.phase is NodePhase.OPEN for node in state.nodes.values())


def runnable_entries(definition: Saga[Any], state: SagaState) -> list[tuple[Step, str]]:
    """The steps of entries that may be worked on now, as far as the plan's order goes, each with its mode."""
    held: list[Step] = []
    ahead: list[Step] = []
    runnable: list[tuple[Step, str]] = []
    for entry in state.plan or ():
        if entry.state in SETTLED:
            continue
        step = definition.by_name[entry.step]
        if entry.state is EntryState.STUCK:
            held.append(step)
            if entry.mode != "settle":
                runnable.append((step, entry.mode))
        elif any(step.name in other.asks_for() for other in held):
            held.append(step)
        else:
            if not ahead or (definition.parallel_compensation and all(_are_parallel(step, other) for other in ahead)):
                runnable.append((step, entry.mode))
            ahead.append(step)
    return runnable


def _are_parallel(one: Step, other: Step) -> bool:
    return one.name not in other.ancestors and other.name not in one.ancestors


def is_rolled_back(state: SagaState) -> bool:
    """Whether every entry of the frozen plan has ended."""
    return state.plan is not None and all(entry.state in SETTLED for entry in state.plan)
