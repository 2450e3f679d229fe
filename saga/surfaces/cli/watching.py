"""`saga watch`: follows one saga, a line for each thing that happens to it, until it has ended or waits for a person."""

import json
from collections.abc import Iterator
from datetime import datetime

import typer

from saga.clock import monotonic, seconds_between, sleep
from saga.core.fold import SagaState
from saga.core.outcomes import OutcomeCode
from saga.core.states import ENDED, Direction, NodePhase, SagaStatus
from saga.store.port import Store
from saga.surfaces.changes import Change, Narration, StepChange
from saga.surfaces.cli.looking import ReferenceArgument
from saga.surfaces.cli.options import FAILED, Output, OutputOption, TimeoutOption, put, put_page, say, settings_and_log
from saga.surfaces.cli.reminding import awaited
from saga.surfaces.cli.screens import reading_store
from saga.surfaces.lookup import look_up
from saga.surfaces.render import clock_time, duration
from saga.surfaces.visible import page

POLL_S = 0.2
STEP_WIDTH = 28


def add_to(app: typer.Typer) -> None:
    app.command()(watch)


def watch(ref: ReferenceArgument, timeout_s: TimeoutOption = None, output: OutputOption = Output.TABLE) -> None:
    """Follow one saga from its beginning: each try, its outcome, and what follows from it.

    Returns when the saga has ended or waits for a person; ctrl-C returns before. Exit code 0: it completed; 1: anything else.
    There is no -d: a journal is read without its definition.

    \b
    Examples
      saga watch SO-10412
      saga watch SO-10412 -o jsonl | jq -c '[.at, .kind]'
    """
    settings = settings_and_log()
    kept = []
    with reading_store(settings) as store:
        row = look_up(store, ref)
        narration = Narration(row)
        for change in _changes(store, row.saga_id, narration, timeout_s):
            if output is Output.JSON:
                kept.append(change.model_dump(mode="json"))
            elif output is Output.JSONL:
                put(change.model_dump_json())
            else:
                put_page(page(lines(change, row.entity)))
        state = narration.state
        if not narration.is_unreadable and (state is None or not _is_at_rest(state)):
            say(f"saga: {row.saga_id} has not ended; {awaited(store, row.saga_id)}")
    if output is Output.JSON:
        put(json.dumps(kept, indent=2, ensure_ascii=False))
    if state is None or state.status is not SagaStatus.COMPLETED:
        raise typer.Exit(FAILED)


def _changes(store: Store, saga_id: str, narration: Narration, bound_s: float | None) -> Iterator[Change]:
    """The changes from the first on, as they come; until only a person can move the saga, or the bound."""
    give_up_at = None if bound_s is None else monotonic() + bound_s
    seq = 0
    while True:
        entries = store.tail(saga_id, seq)
        seq = entries[-1].seq if entries else seq
        yield from narration.take(entries)
        if narration.is_ended or (narration.state is not None and _is_at_rest(narration.state)):
            return
        if give_up_at is not None and monotonic() >= give_up_at:
            return
        sleep(POLL_S)


def _is_at_rest(state: SagaState) -> bool:
    """Whether nobody but a person moves it; what is still in flight of a halted saga is waited for."""
    waits = state.halt is not None and not state.halt.heals_itself
    in_flight = any(node.phase is NodePhase.OPEN for node in state.nodes.values())
    return state.status in ENDED or (waits and not in_flight)


def lines(change: Change, entity: str) -> list[str]:
    """What a person reads of one change: a line for each thing that happened, in the order in which it did: what ended, what that
    led to, what began then."""
    texts: list[tuple[str, str]] = []
    if change.kind == "accepted":
        texts.append((entity, "accepted"))
    ended = [step for step in change.steps if step.phase is not NodePhase.OPEN]
    texts += [(_name(step), _step(step, change.at)) for step in ended]
    if change.kind == "resumed":
        texts.append(("goes on", str(change.saga_status)))
    if (cancel := change.cancel) is not None:
        what = "refused: past the point of no return" if cancel.is_refused else f"asked for by {cancel.actor}"
        texts.append(("cancel", f"{what}: {cancel.reason}"))
    if (cause := change.cause) is not None:
        why = f"{cause.step} {cause.cause}" if cause.step else cause.cause
        texts.append(("ROLLBACK", ": ".join(filter(None, (why, cause.detail, cause.reason)))))
    if change.plan is not None:
        plan = (f"{place}. {it.step}{' (settle)' * (it.mode == 'settle')}" for place, it in enumerate(change.plan, 1))
        texts.append(("plan", "  ".join(plan) or "nothing to undo"))
    texts += [(_name(step), _step(step, change.at)) for step in change.steps if step not in ended]
    if (halt := change.halt) is not None:
        follows = "is tried again by itself" if halt.heals_itself else "waits for a person"
        place = f" at {halt.node.partition(':')[0]}" if halt.node else ""
        texts.append(("HALTED", f"{halt.reason}{place}, {follows}: {halt.detail}".rstrip(": ")))
    if change.saga_status in ENDED and change.kind in ("completed", "compensated"):
        told = f", the customer is told: {change.status}" if change.status else ""
        texts.append((change.kind.upper(), f"the saga has ended{told}"))
    texts += [("warning", warning) for warning in change.warnings or ()]
    if change.unreadable is not None:
        texts.append(("UNREADABLE", f"entry {change.seq}: {change.unreadable}; saga audit"))
    return [f"{clock_time(change.at)}  {name:<{STEP_WIDTH}}  {text}" for name, text in texts]


def _name(step: StepChange) -> str:
    return step.step if step.direction is Direction.ACTION else f"undo {step.step}"


def _step(step: StepChange, at: datetime) -> str:
    """The try and its outcome, and what follows."""
    if step.phase is NodePhase.OPEN:
        return f"try {step.attempt}"
    if step.phase is NodePhase.CLOSED:
        return "is not tried again"
    outcome = OutcomeCode.SUCCEEDED if step.outcome is None else step.outcome
    detail = f": {step.detail}" if step.detail and step.phase is not NodePhase.DONE else ""
    wait_s = seconds_between(at, step.next_at) if step.next_at else None
    follows = {
        NodePhase.BACKOFF: f", again in {duration(wait_s)}",
        NodePhase.PENDING: f", its answer is due in {duration(wait_s)}",
    }.get(step.phase, "")
    return f"try {step.attempt} {outcome}{detail}{follows}"
