"""What must hold of every journal, judged from its transitions alone and not by asking the machine again.

Each invariant is one function `(definition, journal)` that asserts; `CHECKS` are all of them. Effects and the order of the
rollback are computed here in another way than the machine does it: from the outcome codes, and from the definition.
"""

from collections.abc import Callable, Sequence

from saga.core import transitions as t
from saga.core.connector import Undo
from saga.core.definition import Kind, Saga, Step
from saga.core.fold import SagaState, replay
from saga.core.outcomes import OutcomeCode
from saga.core.states import HELD, Direction, Effect, EntryState, HaltReason, NodePhase
from tests.unit.core.shop import Order

Journal = Sequence[t.Transition]
NO_WORK = {OutcomeCode.NOT_SENT, OutcomeCode.THROTTLED}


def is_action(node: str) -> bool:
    return node.endswith(":a")


def at_first(journal: Journal, kind: type[t.Transition]) -> int | None:
    """Where the first transition of that kind stands."""
    return next((place for place, it in enumerate(journal) if isinstance(it, kind)), None)


def no_action_starts_after_the_saga_turned_round(_: Saga[Order], journal: Journal) -> None:
    """But for those that the frozen plan repeats."""
    turned, frozen = at_first(journal, t.RollbackRequested), at_first(journal, t.PlanFrozen)
    late = journal[turned:] if turned is not None else ()
    plan = None if frozen is None else journal[frozen]
    repeats = (
        {f"{it.step}:a" for it in plan.entries if it.mode == "repeat"} if isinstance(plan, t.PlanFrozen) else set()
    )
    started = [it.node for it in late if isinstance(it, t.AttemptStarted) and is_action(it.node)]
    assert set(started) <= repeats
    before = journal[turned:frozen] if turned is not None else ()
    assert not [it for it in before if isinstance(it, t.AttemptStarted) and is_action(it.node)]


def every_outcome_has_its_attempt(_: Saga[Order], journal: Journal) -> None:
    """Started before it, at the same epoch; ended once, and once more when it was pending, unless the saga turned round before
    and closed it. Epochs count up by one."""
    open_epochs: dict[str, int] = {}
    pending: set[str] = set()
    last: dict[str, int] = {}
    for it in journal:
        if isinstance(it, t.AttemptStarted):
            assert it.node not in open_epochs
            assert it.epoch == last.get(it.node, 0) + 1
            open_epochs[it.node] = last[it.node] = it.epoch
        elif isinstance(it, t.AttemptEnded):
            assert open_epochs.pop(it.node, None) == it.epoch
            pending.discard(it.node)
            if it.phase is NodePhase.PENDING:
                open_epochs[it.node] = it.epoch
                pending.add(it.node)
        elif isinstance(it, t.RollbackRequested):
            open_epochs = {node: epoch for node, epoch in open_epochs.items() if node not in pending}


def there_is_one_end(_: Saga[Order], journal: Journal) -> None:
    """At most one terminal transition, and only evidence behind it."""
    ends = [place for place, it in enumerate(journal) if isinstance(it, t.SagaCompleted | t.SagaCompensated)]
    assert len(ends) <= 1
    assert all(isinstance(it, t.EvidenceKept) for place in ends for it in journal[place + 1 :])


def may_have_an_effect(codes: list[OutcomeCode]) -> bool:
    """Not when every attempt was answered before any work, or by a "no"."""
    return any(code not in NO_WORK | {OutcomeCode.REJECTED} for code in codes)


def may_lack(journal: Journal) -> bool:
    """Whether it was held before it turned round, and let go; of a damaged one also afterwards."""
    turned = at_first(journal, t.RollbackRequested)
    held = [
        place
        for place, it in enumerate(journal)
        if isinstance(it, t.SagaHalted)
        and (it.reason is HaltReason.JOURNAL_DAMAGED or (it.reason in HELD and (turned is None or place < turned)))
    ]
    return any(isinstance(it, t.SagaResumed) for place in held for it in journal[place:])


def the_plan_is_the_definition_reversed(definition: Saga[Order], journal: Journal) -> None:
    """Frozen once, with exactly the compensatable steps that may have had an effect, last of the definition first. In a journal
    that may lack its end that is each step that serialises keys, but for those with a "no" of their own or behind one under a key."""
    frozen = at_first(journal, t.PlanFrozen)
    if frozen is None:
        return
    assert sum(isinstance(it, t.PlanFrozen) for it in journal) == 1
    codes: dict[str, list[OutcomeCode]] = {step.name: [] for step in definition.order}
    results = {it.node[:-2] for it in journal[:frozen] if isinstance(it, t.AttemptEnded) and it.result is not None}
    begun = {it.node[:-2] for it in journal[:frozen] if isinstance(it, t.AttemptStarted)}
    for it in journal[:frozen]:
        if isinstance(it, t.AttemptEnded):
            codes[it.node.removesuffix(":a")].append(it.code)
    refused = {name for name, heard in codes.items() if heard[-1:] == [OutcomeCode.REJECTED]}
    keyed = {it.name for it in definition.order if it.kind is not Kind.READONLY and it.serialises_in(Direction.ACTION)}
    lost = {
        step.name
        for step in definition.order
        if may_lack(journal[:frozen])
        and step.serialises_in(Direction.ACTION)
        and step.name not in refused
        and not refused & step.ancestors & keyed
    }
    expected = [
        step.name
        for step in reversed(definition.order)
        if step.kind is Kind.COMPENSATABLE and (may_have_an_effect(codes[step.name]) or step.name in lost)
    ]
    plan = journal[frozen]
    assert isinstance(plan, t.PlanFrozen)
    assert [entry.step for entry in plan.entries] == expected
    for entry in plan.entries:
        step = definition.by_name[entry.step]
        is_safe, is_known = step.serialises_in(Direction.ACTION), OutcomeCode.SUCCEEDED in codes[entry.step]
        can_ask = step.name in begun or step.asks_for() <= results
        blind = "compensate" if isinstance(step.compensation, Undo) else "repeat" if can_ask else "settle"
        unknown = blind if is_safe else "settle"
        assert entry.mode == ("compensate" if is_known else unknown)


def compensations_start_in_plan_order(definition: Saga[Order], journal: Journal) -> None:
    """When one starts, each entry ahead has ended, is stuck, waits for a stuck one, or was a parallel branch."""
    for place, it in enumerate(journal):
        if isinstance(it, t.AttemptStarted) and not is_action(it.node):
            _check_start(definition, replay(journal[:place]), definition.node(it.node)[0])


def _check_start(definition: Saga[Order], state: SagaState, starting: Step) -> None:
    assert state.plan is not None
    held: set[str] = set()
    for entry in state.plan:
        step = definition.by_name[entry.step]
        waits = any(step.name in definition.by_name[name].asks_for() for name in held)
        if step.name == starting.name:
            assert entry.mode != "settle"
            assert state.node(f"{entry.step}:a").effect is Effect.APPLIED or entry.mode == "compensate"
            assert not waits or entry.state is EntryState.STUCK
            return
        if entry.state is EntryState.STUCK or (waits and entry.state is EntryState.OPEN):
            held.add(step.name)
        elif entry.state is EntryState.OPEN:
            was_parallel = step.name not in starting.ancestors and starting.name not in step.ancestors
            assert definition.parallel_compensation
            assert was_parallel
    raise AssertionError(f"{starting.name} is not in the plan")


def actions_start_when_their_turn_has_come(definition: Saga[Order], journal: Journal) -> None:
    """Every step before it in the definition was done, and the saga was not in front of a person."""
    for place, it in enumerate(journal):
        if isinstance(it, t.AttemptStarted) and is_action(it.node):
            state = replay(journal[:place])
            step, _ = definition.node(it.node)
            if state.plan is not None:  # a repeat: its turn is that of its entry
                continue
            assert all(state.node(f"{name}:a").phase is NodePhase.DONE for name in step.ancestors)
            assert state.halt is None or (state.halt.heals_itself and state.node(it.node).phase is NodePhase.BACKOFF)


def rollback_has_a_cause(definition: Saga[Order], journal: Journal) -> None:
    """A business "no", an unknown whose step asked for it, the deadline or a cancel; never once it cannot be undone."""
    turned = at_first(journal, t.RollbackRequested)
    if turned is None:
        return
    it, state = journal[turned], replay(journal[:turned])
    assert isinstance(it, t.RollbackRequested)
    for step in definition.order:
        if step.kind in (Kind.PIVOT, Kind.RETRIABLE):
            node = state.node(f"{step.name}:a")
            assert node.phase not in (NodePhase.OPEN, NodePhase.PENDING, NodePhase.DONE)
            assert node.effect is Effect.ABSENT
    if it.cause in ("rejected", "unknown"):
        assert it.step is not None
        node, step = state.node(f"{it.step}:a"), definition.by_name[it.step]
        assert node.code is OutcomeCode(it.cause)
        assert it.cause == "rejected" or step.on_unknown == "compensate"
        assert not definition.after_pivot(step)
    elif it.cause == "deadline":
        assert state.deadline_at is not None
        assert state.deadline_at <= it.at
    else:
        assert state.cancel is not None


def the_end_is_what_it_says(definition: Saga[Order], journal: Journal) -> None:
    """Completed: every action done, nothing undone. Compensated: every entry ended once, effects net to zero."""
    state = replay(journal)
    undone = [it.node for it in journal if isinstance(it, t.AttemptEnded) and not is_action(it.node)]
    if state.status == "completed":
        assert all(state.node(f"{step.name}:a").phase is NodePhase.DONE for step in definition.order)
        assert not undone
    if state.status == "compensated":
        assert state.plan is not None
        assert all(entry.state in (EntryState.COMPENSATED, EntryState.NULL) for entry in state.plan)
        assert state.net_effects() == {}
        succeeded = [
            it.node
            for it in journal
            if isinstance(it, t.AttemptEnded) and not is_action(it.node) and it.code is OutcomeCode.SUCCEEDED
        ]
        ended = [entry.step for entry in state.plan if entry.state is EntryState.COMPENSATED]
        assert sorted(succeeded) == sorted(f"{step}:c" for step in ended)


CHECKS: list[Callable[[Saga[Order], Journal], None]] = [
    no_action_starts_after_the_saga_turned_round,
    every_outcome_has_its_attempt,
    there_is_one_end,
    the_plan_is_the_definition_reversed,
    compensations_start_in_plan_order,
    actions_start_when_their_turn_has_come,
    rollback_has_a_cause,
    the_end_is_what_it_says,
]
