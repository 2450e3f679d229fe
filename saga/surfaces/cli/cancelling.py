"""`saga cancel`: asks for the rollback of one saga, through the database as `saga start` does."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from saga.clock import monotonic, sleep
from saga.core.states import SagaStatus
from saga.errors import UsageError
from saga.fulfilment.models import broken_rules
from saga.runtime.engine import Definitions
from saga.store.port import Store
from saga.surfaces.cancelling import Cancelled, CancelRequest, CancelStanding, cancel, held_words, who_must_run
from saga.surfaces.cli.looking import ReferenceArgument
from saga.surfaces.cli.options import (
    FAILED,
    DefinitionOption,
    Output,
    OutputOption,
    TimeoutOption,
    as_options,
    definitions_named,
    put_one,
    say,
    settings_and_log,
)
from saga.surfaces.cli.ordering import WaitOption
from saga.surfaces.cli.reminding import Reminder
from saga.surfaces.cli.screens import reading_store
from saga.surfaces.draining import is_over
from saga.surfaces.lookup import look_up
from saga.surfaces.publishing import publisher

POLL_S = 0.1
SAID = {
    CancelStanding.DONE: "is compensated: everything is undone",
    CancelStanding.ACCEPTED: "is being rolled back",
    CancelStanding.PENDING: "cancel is written down; the step of no return is in flight, or may have been sent before a restore, and its answer decides",
    CancelStanding.REFUSED: "is past its point of no return and goes forward only; nothing was cancelled",
}

AT_END = {SagaStatus.COMPENSATED: CancelStanding.DONE, SagaStatus.COMPLETED: CancelStanding.REFUSED}
"""What a cancel that was waited for has come to."""
NOTHING_FOLLOWS = frozenset({CancelStanding.REFUSED, CancelStanding.HELD})


def add_to(app: typer.Typer) -> None:
    app.command("cancel")(cancel_saga)


def cancel_saga(
    ref: ReferenceArgument,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the journal.")],
    actor: Annotated[str, typer.Option(metavar="NAME", help="Who asks; nobody checks it.")] = "cli",
    definition: DefinitionOption = None,
    wait: WaitOption = False,
    timeout_s: TimeoutOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Cancel one saga: what it did is undone, in reverse order. A second cancel is the same cancel.

    Before the point of no return it is rolled back at once; while that step is in flight the cancel waits for its outcome;
    after it the cancel is refused. One that waits for a person stays where it is: the cancel is kept, and nothing follows.
    Only a saga of SAGA_ENVIRONMENT and SAGA_TENANT is meant. Exit code 1: refused, nothing follows, or with --wait not
    compensated. 3: no such saga.

    \b
    Examples
      saga cancel SO-10412 --reason "customer called"
      saga cancel SO-10412 --reason "customer called" --actor anna --wait --timeout 60
      saga cancel SO-1 -d shop:place_order --reason "ordered twice" -o json
    """
    request = _request(reason, actor)
    settings = settings_and_log()
    sagas = definitions_named(definition)
    with reading_store(settings) as store, publisher(settings, sagas) as publish:
        row = look_up(store, ref, is_changed=True)
        found = cancel(store, Definitions(sagas), row.saga_id, request, surface="cli")
        publish(found.hints)
        must_run = who_must_run(store, found, definition or ())
        if must_run is not None:
            say(f"saga: {must_run}")
        status = found.state.status
        if wait and found.standing not in NOTHING_FOLLOWS:
            status = _await_end(store, row.saga_id, timeout_s, definition or ())
    standing = AT_END.get(status, found.standing)
    said = held_words(found.state, as_options(definition)) if standing is CancelStanding.HELD else SAID[standing]
    value = {**_value(found, standing, status), "must_run": must_run}
    put_one(output, value, f"{row.entity}   {status}   {said}")
    if standing in NOTHING_FOLLOWS or (wait and status is not SagaStatus.COMPENSATED):
        raise typer.Exit(FAILED)


def _request(reason: str, actor: str) -> CancelRequest:
    try:
        return CancelRequest(reason=reason, actor=actor)
    except ValidationError as error:
        raise UsageError(broken_rules(error, whole="cancel")) from None


def _await_end(store: Store, saga_id: str, bound_s: float | None, definitions: Sequence[str]) -> SagaStatus:
    give_up_at = None if bound_s is None else monotonic() + bound_s
    remind = Reminder(saga_id, store, saga_id, definitions=definitions)
    while True:
        row = store.row(saga_id)
        assert row is not None, f"{saga_id} was cancelled and is not there"
        if is_over(row):
            return row.status
        remind.look(row.status)
        if give_up_at is not None and monotonic() >= give_up_at:
            remind.say(row.status)
            return row.status
        sleep(POLL_S)


def _value(found: Cancelled, standing: CancelStanding, status: SagaStatus) -> dict[str, Any]:
    state = found.state
    return {
        "saga_id": state.saga_id,
        "entity": state.entity,
        "cancel": standing.value,
        "status": status.value,
        "cause": state.cause.cause if state.cause else None,
        "plan": None if state.plan is None else [entry.step for entry in state.plan],
    }
