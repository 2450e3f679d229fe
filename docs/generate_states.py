"""Writes docs/states.md from the tables of `saga.core.states` and from answers of the machine: `python -m docs.generate_states`.

Which transition leads where is read from `STATUS_AFTER`; the outcome table is not written down here but asked from
`decide`, one small saga per cell. Only the words beside them are kept in this file, keyed by the enum members, so a new
member without words fails. `tests/unit/core/test_states_page.py` compares the page with what this file gives.
"""
# ruff: noqa: INP001  # docs is a folder of pages, not a package

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_lowercase
from typing import Annotated, Any

from pydantic import BaseModel

from saga.core import transitions as t
from saga.core.binding import From
from saga.core.connector import Connector
from saga.core.definition import Saga, Step, compensatable, parallel, pivot, readonly, retriable
from saga.core.events import Ended, StartAsked
from saga.core.fold import SagaState, accepted
from saga.core.machine import decide
from saga.core.outcomes import Outcome, OutcomeCode, Payload
from saga.core.retry import RetryPolicy
from saga.core.states import (
    SELF_HEALING,
    STATUS_AFTER,
    Effect,
    EntryState,
    HaltReason,
    NodePhase,
    SagaStatus,
)

PAGE = Path(__file__).with_name("states.md")

CAUSES: dict[str, str] = {
    "saga_accepted": "a saga is started: its first journal entry",
    "attempt_started": "`StartAsked`: a process claims a node that is ready; the call leaves after the commit",
    "attempt_ended": "`Ended`: an attempt came to an outcome; or `Woken`: its deadline passed, or its process is gone",
    "step_broke": "`PrepareFailed`: the step's own code failed before anything was sent",
    "evidence_kept": "`Ended` with succeeded or rejected for an attempt that is no longer open: kept, and changes nothing",
    "cancel_requested": "`CancelAsked`, unless the saga ended, turned round, or its pivot succeeded",
    "cancel_refused": "the pivot succeeded while a cancel was pending, or `LetGo` with books that have it",
    "rollback_requested": 'a rejection before the pivot, an unknown outcome whose step says `on_unknown="compensate"` after its '
    "budget, the deadline, a cancel, or `LetGo` with books that have an undo of it",
    "plan_frozen": "the saga turned round and no action is in flight any more",
    "saga_halted": "one of the halt reasons below; `HoldAsked` for the last two",
    "saga_resumed": "the node that a self-healing halt names came to an outcome that leaves it neither open, in backoff nor pending; "
    "or `LetGo`: somebody answers for what the journal may lack",
    "saga_completed": "every action is done",
    "saga_compensated": "every entry of the plan ended, and the reported effects net to zero",
}
STATUSES: dict[SagaStatus, str] = {
    SagaStatus.RUNNING: "goes forward",
    SagaStatus.COMPENSATING: "turned round: no action is sent any more, but for a repeat that its plan names",
    SagaStatus.HALTED: "no new action; outcomes in flight are kept; remembers the status it came from",
    SagaStatus.COMPLETED: "ended forward",
    SagaStatus.COMPENSATED: "ended backward; a cancelled order ends here with cause `cancelled`",
}
PHASES: dict[NodePhase, tuple[str, str]] = {
    NodePhase.WAITING: ("never attempted", "starts when its turn has come"),
    NodePhase.OPEN: (
        "an attempt is in flight",
        "ends with an outcome, or as unknown after its deadline and two seconds",
    ),
    NodePhase.BACKOFF: (
        "waits for its next attempt",
        "starts again when due; closed when the saga turns round, unless the plan repeats it",
    ),
    NodePhase.PENDING: (
        "taken, the answer comes later",
        "unknown after its own deadline; closed when the saga turns round",
    ),
    NodePhase.DONE: ("succeeded, or its rejection was recorded", "stays"),
    NodePhase.FAILED: ("not attempted again", "stays; turns the saga round or halts it"),
    NodePhase.CLOSED: ("was in the air when the saga turned round", "stays; its effect is what its attempts left"),
}
EFFECTS: dict[Effect, str] = {
    Effect.ABSENT: "every attempt was not sent, throttled or rejected",
    Effect.UNKNOWN: "neither is proved; a later `not_sent` or `rejected` does not erase it",
    Effect.APPLIED: "an attempt succeeded",
}
ENTRIES: dict[EntryState, str] = {
    EntryState.OPEN: "its compensation has not ended, or its action is to be repeated first",
    EntryState.STUCK: "its budget is spent, it failed, or it must be settled first; blocks the entries of steps whose result "
    "its action had asked for",
    EntryState.COMPENSATED: "its compensation succeeded",
    EntryState.NULL: "proved that there was nothing to undo",
}
REASONS: dict[HaltReason, str] = {
    HaltReason.PARTICIPANT_DOWN: "the budget of an action is spent; it is tried again at the cap",
    HaltReason.COMPENSATION_RETRYING: "the budget of a compensation is spent; it is tried again at the cap",
    HaltReason.DEFECT: "an answer or the step's own code that only a person can read",
    HaltReason.UNRESOLVED_EFFECT: "not known whether an effect was applied or undone, or the effects do not net to zero",
    HaltReason.PIVOT_UNRESOLVED: "not known whether the pivot was applied, and asking again is not safe",
    HaltReason.POISON: "a node was open in three processes that died with nothing else open",
    HaltReason.RETRIABLE_REJECTED: "a step that must in the end succeed was rejected",
    HaltReason.JOURNAL_DAMAGED: "the journal is shorter than its saga row remembers: nothing of it is sent until it is let go",
    HaltReason.RESTORED: "a backup was restored, and what happened after it is not in the journal: nothing of it is sent until it is compared or let go",
}

AT = datetime(2026, 1, 1, tzinfo=UTC)
BARRIER = Connector("barrier", keys="serialise", remembers_rejections=True)
PROVIDER = Connector("provider")
ONCE = RetryPolicy(max_attempts=1)


class Ask(BaseModel):
    """The input of the small sagas."""

    order_id: str


def table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def edges() -> list[tuple[str, str, str]]:
    """(from, to, transition) of every transition that changes the status; resuming goes back to either."""
    found = [("[*]" if of is None else of, to, kind) for (of, kind), to in STATUS_AFTER.items() if of is not to]
    return [*found, (SagaStatus.HALTED, SagaStatus.COMPENSATING, "saga_resumed")]


def diagram() -> list[str]:
    """The statuses with lettered edges, and what each letter stands for."""
    lettered = list(zip(ascii_lowercase, edges(), strict=False))
    drawn = [f"    {of} --> {to}: {letter}" for letter, (of, to, _) in lettered]
    ends = [f"    {status} --> [*]" for status in SagaStatus if _is_end(status)]
    rows = [
        [letter, "start" if of == "[*]" else f"`{of}`", f"`{to}`", f"`{kind}`", CAUSES[kind]]
        for letter, (of, to, kind) in lettered
    ]
    return [
        *("```mermaid", "stateDiagram-v2", *drawn, *ends, "```", ""),
        *table(["", "from", "to", "transition", "caused by"], rows),
    ]


def _is_end(status: SagaStatus) -> bool:
    return all(to is status for (of, _), to in STATUS_AFTER.items() if of is status)


def same_status() -> list[str]:
    """Transitions that are recorded and leave the status as it is, and in which statuses they are legal."""
    statuses: dict[str, list[str]] = {}
    for (of, kind), to in STATUS_AFTER.items():
        if of is to:
            statuses.setdefault(kind, []).append(f"`{of}`")
    rows = [[f"`{kind}`", ", ".join(where), CAUSES[kind]] for kind, where in statuses.items()]
    return table(["transition", "in", "caused by"], rows)


def outcome_table() -> list[str]:
    """What the machine makes of each outcome, asked from it: one saga per cell."""
    columns = _columns()
    rows = []
    for code in OutcomeCode:
        rows.append([f"`{code}`", *(_cell(make(RetryPolicy()), node, code) for _, make, node in columns)])
        if code is OutcomeCode.UNKNOWN:
            spent = (_cell(make(ONCE), node, code) for _, make, node in columns)
            rows.append([f"`{code}`, budget spent", *spent])
    return table(["outcome", *(name for name, _, _ in columns)], rows)


def _columns() -> list[tuple[str, Any, str]]:
    return [
        ("readonly", lambda retry: [readonly(BARRIER.query("/x", Ask, Ask), name="x", retry=retry)], "x:a"),
        ("compensatable, barrier", lambda retry: [_step("x", retry)], "x:a"),
        ("compensatable, elsewhere", lambda retry: [_elsewhere("x", retry)], "x:a"),
        ("pivot, barrier", lambda retry: [pivot(_call("x"), name="x", retry=retry)], "x:a"),
        ("pivot, elsewhere", lambda _: [pivot(_call("x", PROVIDER), name="x", on_unknown="halt")], "x:a"),
        ("retriable", lambda retry: [retriable(_call("x"), name="x", retry=retry)], "x:a"),
        ("action, saga turned round", lambda retry: [parallel(_step("no", retry), _step("x", retry))], "x:a"),
        ("compensation", lambda retry: [_step("x", retry), _step("no", retry)], "x:c"),
    ]


def _call(name: str, at: Connector = BARRIER) -> Any:
    return at.post(f"/{name}", Ask, Ask)


def _step(name: str, retry: RetryPolicy) -> Step:
    call = _call(name)
    undo = BARRIER.undo(f"/{name}/undo", of=call)
    return compensatable(lambda: call, **_as_call(call, undo, name, retry))


def _as_call(call: Any, undo: Any, name: str, retry: RetryPolicy) -> dict[str, Any]:
    return {"operation": call, "compensation": undo, "name": name, "retry": retry, "compensation_retry": retry}


def _elsewhere(name: str, retry: RetryPolicy) -> Step:
    def undo(_done: Annotated[Ask, From(name)]) -> None:
        """A compensation function."""

    call = _call(name, PROVIDER)
    return compensatable(lambda: call, **_as_call(call, undo, name, retry), on_unknown="halt")


def _cell(steps: list[Any], node: str, code: OutcomeCode) -> str:
    definition = Saga("page", 1, Ask, lambda ask: ask.order_id, steps)
    state = _start(definition, _lead_to(definition, node), node)
    state = decide(definition, state, Ended(AT, node, 1, Outcome(code, until_at=AT + timedelta(days=1)))).state
    after = state.node(node)
    said = [after.phase.value, f"effect {after.effect}"] if node.endswith(":a") else [after.phase.value]
    if state.cause is not None and state.cause.step == node.removesuffix(":a"):
        said.append("rolls back")
    if state.halt is not None:
        said.append(f"halts: {state.halt.reason}")
    return ", ".join(said)


def _lead_to(definition: Saga[Any], node: str) -> SagaState:
    """A saga at the point where `node` is next: turned round by the step `no`, where the definition has one."""
    first = t.SagaAccepted(AT, "s", "page", 1, definition.fingerprint, "docs", "docs", "o", 1, Payload("{}"))
    state = accepted(first)
    if "no" not in definition.by_name:
        return state
    if node == "x:c":
        state = _end(definition, _start(definition, state, "x:a"), "x:a", OutcomeCode.SUCCEEDED)
        return _end(definition, _start(definition, state, "no:a"), "no:a", OutcomeCode.REJECTED)
    state = _start(definition, _start(definition, state, "x:a"), "no:a")
    return _end(definition, state, "no:a", OutcomeCode.REJECTED)


def _start(definition: Saga[Any], state: SagaState, node: str) -> SagaState:
    asked = StartAsked(AT, node, "w", AT + timedelta(seconds=10), "key", "wire")
    return decide(definition, state, asked).state


def _end(definition: Saga[Any], state: SagaState, node: str, code: OutcomeCode) -> SagaState:
    return decide(definition, state, Ended(AT, node, 1, Outcome(code))).state


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            "# States",
            "",
            "Written by `python -m docs.generate_states` from `saga/core/states.py` and from the machine's own answers; a test compares",
            "the two. A pair of status and transition that is in neither of the two tables of transitions is illegal: `evolve` raises",
            "`IllegalTransition` and changes nothing. The events that cause them are those of `saga/core/events.py`.",
            "",
            "## The saga",
            "",
            *table(["status", "meaning"], [[f"`{it}`", STATUSES[it]] for it in SagaStatus]),
            "",
            *diagram(),
            "",
            "### Recorded without a change of status",
            "",
            *same_status(),
            "",
            "## Halt reasons",
            "",
            *table(
                ["reason", "heals itself", "why"],
                [[f"`{it}`", "yes" if it in SELF_HEALING else "no, a person", REASONS[it]] for it in HaltReason],
            ),
            "",
            "## Nodes",
            "",
            "A node is one step in one direction. Its phases:",
            "",
            *table(["phase", "meaning", "what follows"], [[f"`{it}`", *PHASES[it]] for it in NodePhase]),
            "",
            "Its effect is a fold over all its attempts:",
            "",
            *table(["effect", "when"], [[f"`{it}`", EFFECTS[it]] for it in Effect]),
            "",
            "## Outcomes",
            "",
            "What one attempt's outcome makes of its node, when it is the first attempt. The participant of every column but the",
            "two named *elsewhere* serialises keys and remembers rejections; steps have the defaults, and those elsewhere",
            '`on_unknown="halt"`. A retriable step with `on_rejected="record"` is done when it is rejected.',
            "",
            *outcome_table(),
            "",
            "## Entries of the rollback plan",
            "",
            *table(["state", "meaning"], [[f"`{it}`", ENTRIES[it]] for it in EntryState]),
            "",
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
