"""`saga db restored`, `reconcile`, `let-go` and `settle`: what an operator types after a backup was restored."""

from datetime import UTC, datetime
from shlex import quote
from typing import Annotated, Any

import typer

from saga.core.states import Direction
from saga.errors import UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.fulfilment.texts import has_seen
from saga.runtime.engine import Definitions
from saga.settings import Settings
from saga.store.port import SagaFilter, Store
from saga.store.restoring import Settled
from saga.surfaces import restoring
from saga.surfaces.audit_lost import has_lost_run
from saga.surfaces.cli.options import (
    FAILED,
    DefinitionOption,
    Output,
    OutputOption,
    as_options,
    definitions_named,
    put_one,
    say,
    settings_and_log,
)
from saga.surfaces.cli.screens import reading_store
from saga.surfaces.embedded import addresses
from saga.surfaces.ledgers import SERVICES, Ledgers, read_ledgers
from saga.surfaces.lookup import look_up, pages
from saga.surfaces.visible import page
from saga.surfaces.workers import living_workers

SHOWN = 20
ReasonOption = Annotated[str, typer.Option(help="Why, for whoever reads the journal.")]
ActorOption = Annotated[str, typer.Option(metavar="NAME", help="Who says so; nobody checks it.")]


def add_commands(db: typer.Typer) -> None:
    db.command("restored")(restored)
    db.command("reconcile")(reconcile)
    db.command("let-go")(let_go_sagas)
    db.command("settle")(settle)


def restored(
    at: Annotated[str, typer.Option(help="The instant that the backup is of, as in 2026-11-29T14:00:00Z.")],
    reason: ReasonOption,
    actor: ActorOption = "cli",
    definition: DefinitionOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say that the database was restored from a backup: every saga that had not ended is held, and nothing of it is sent.

    Stop workers and API first. Go on with `saga db reconcile`. Exit code 1: some could not be held. May be repeated with
    the same --at. Exit code 2, and nothing is held: the database has orders that are younger than --at.

    \b
    Example
      saga db restored --at 2026-11-29T14:00:00Z --reason "disk of db-1 died"
    """
    settings = settings_and_log()
    sagas = Definitions(definitions_named(definition))
    with reading_store(settings, all_tenants=True) as store:  # a backup is of the whole database
        if alive := living_workers(store):
            raise UsageError(
                f"worker {alive[0].worker_id} on {alive[0].host} runs: stop every worker first, or wait until its lease has ended"
            )
        moved = restoring.restored(store, sagas, restored_to=_instant(at), actor=actor, reason=_said(reason))
    _put(output, settings, moved, "held", "held until saga db reconcile, or saga db let-go")


def reconcile(
    reason: ReasonOption = "compared with the participants' ledgers",
    actor: ActorOption = "cli",
    definition: DefinitionOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare restored sagas with the participants' ledgers and let those go that can go on without harm.

    At a participant that serialises keys whatever was done in the lost part is answered and not done again; elsewhere its books
    must show that it was not done. They must show the same of a compensation that is no undo by key: an order that was refunded
    would go forward again. Exit code 1: some stay held, each with what has to be found out; then `saga db let-go`.

    \b
    Example
      saga db reconcile
    """
    settings = settings_and_log()
    sagas = Definitions(definitions_named(definition))
    with reading_store(settings, all_tenants=True) as store:
        moved = restoring.reconciled(
            store,
            sagas,
            _books(settings, store, sagas),
            actor=actor,
            reason=_said(reason),
            options=as_options(definition),
        )
    _put(output, settings, moved, "let go", "let go; they go on where the backup left them")


def let_go_sagas(
    reason: ReasonOption,
    refs: Annotated[
        list[str] | None, typer.Argument(metavar="[REF]...", help="Orders or sagas, of whichever tenant.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every saga that is held after a restore, of whichever tenant.")
    ] = False,
    past_return: Annotated[
        bool, typer.Option("--past-return", help="The step of no return was done, whatever journal and books say.")
    ] = False,
    not_done: Annotated[
        bool,
        typer.Option("--not-done", help="What its journal has as sent, and nobody may send again, was not done."),
    ] = False,
    no_books: Annotated[
        bool, typer.Option("--no-books", help="Do not ask the participants: answer for what they have as well.")
    ] = False,
    actor: ActorOption = "cli",
    definition: DefinitionOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let held sagas go on as their journals and the participants' ledgers stand. You say that nothing else was done.

    For sagas that are held after a restore, and for those whose journal is damaged. What neither has is done as if for the first time:
    where keys are ignored, a charge that was made is made again. If something was done there, leave the saga halted; this
    release has no command that tells it. An attempt that the journal has without its answer is asked for apart, with --not-done.
    Exit code 1: one was not held, or cannot be let go; it is named, and the others go on.

    \b
    Examples
      saga db let-go SO-10412 --reason "the bank's books show no charge"
      saga db let-go SO-10413 --past-return --reason "the carrier has the parcel"
      saga db let-go --all --reason "compared by hand"
    """
    settings = settings_and_log()
    if bool(refs) == everything:
        raise UsageError("name the orders to let go, or say --all")
    for said, name in ((past_return, "--past-return"), (not_done, "--not-done")):
        if everything and said:
            raise UsageError(f"{name} is said of the orders that are named, not of --all")
    sagas, why = Definitions(definitions_named(definition)), _said(reason)
    with reading_store(settings, all_tenants=True) as store:  # what is held is of every tenant
        books = None if no_books else _books(settings, store, sagas)
        if everything:
            moved = restoring.released_all(store, sagas, books, actor=actor, reason=why)
        else:  # each is looked up before the first is moved: a name that is mistyped moves nothing
            rows = [look_up(store, ref, is_changed=True) for ref in refs or ()]
            moved = restoring.released(
                store, sagas, rows, books, actor=actor, reason=why, is_past_return=past_return, is_not_done=not_done
            )
    _put(output, settings, moved, "let go", "let go; they go on where their journals stand")


def settle(
    orders: Annotated[
        list[str], typer.Argument(metavar="ORDER...", help="Orders or returns that no journal knows any more.")
    ],
    reason: ReasonOption,
    actor: ActorOption = "cli",
    definition: DefinitionOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Answer for orders and returns that participants have something of and that no journal knows: accepted after the backup.

    Send one again rather than settle it, if anybody has it and each of its participants serialises keys: the keys are the same, so
    nothing is done twice. One that ignores keys does it twice: look into its books first. The audit names what is left; what is
    settled is no violation any more, in the lost part. An order that a journal knows is taken when participants have a later run
    of it, and any other when they have anything of it. Exit code 2: they have nothing. Books that cannot be read are not asked
    about an order that no journal knows: it is settled, and the answer says so.

    \b
    Example
      saga db settle SO-10413 --reason "refunded by hand, ticket 4711"
    """
    settings = settings_and_log()
    why = _said(reason)
    if nameless := [order for order in orders if not order.strip() or not order.isprintable()]:
        raise UsageError(f"{nameless[0]!a} is no name of an order or return; type the id that the audit names")
    others = [saga for saga in definitions_named(definition) if saga not in (fulfil_order, return_order)]
    sagas = Definitions([fulfil_order, return_order, *others])
    with reading_store(settings) as store:
        ledgers, unread = _ledgers_there_are(settings)
        unseen = [order for order in orders if not _is_found(settings, store, sagas, ledgers, order, unread)]
        now = store.now()
        store.settle([Settled(settings.environment, settings.tenant, order, now, actor, why) for order in orders])
    lines = [f"{len(orders)} settled: {', '.join(orders[:SHOWN])}"]
    if unseen:
        lines.append(f"not looked for at the participants: {', '.join(unseen[:SHOWN])}; {unread}")
    put_one(output, {"settled": orders, "not_looked_for": unseen}, page(lines))


def _is_found(settings: Settings, store: Store, sagas: Definitions, ledgers: Ledgers, order: str, unread: str) -> bool:
    """Whether participants have something to answer for. False: no journal knows the order, and not every book was read.

    Raises `UsageError` when they have nothing."""
    ours = SagaFilter(environment=settings.environment, tenant=settings.tenant, entity=order)
    rows = list(pages(store, ours))
    if has_lost_run(store, sagas, ledgers, rows, ours) or (not rows and ledgers.names(order)):
        return True
    where = f"the books of {', '.join(sorted(ledgers.services))}" if ledgers.services else "no ledger was read"
    if rows:
        msg = f"{order}: a journal knows this order, and nothing of a later run is known ({where}); see saga show {quote(order)}"
        raise UsageError(f"{msg}; {unread}" if unread else msg)
    if not unread:
        raise UsageError(
            f"{order}: no journal knows it, and {where} have nothing of it; type the id that the audit names"
        )
    return False


def _ledgers_there_are(settings: Settings) -> tuple[Ledgers, str]:
    """The participants' ledgers, and why some of them were not read."""
    try:
        ledgers = _ledgers(settings)
    except UsageError as error:
        return Ledgers(), str(error)
    without = [f"SAGA_{name.upper()}_URL" for name in SERVICES if not ledgers.has(name)]
    return ledgers, f"to look there, set {', '.join(without)}" if without else ""


def _books(settings: Settings, store: Store, sagas: Definitions) -> restoring.Books:
    read_at, ledgers = store.now(), _ledgers(settings)
    asked = {it.name for saga in sagas for step in saga.order for it in map(step.connector_in, Direction) if it}
    if unread := sorted(asked & set(SERVICES) - ledgers.services):
        variables = ", ".join(f"SAGA_{name.upper()}_URL" for name in unread)
        say(f"saga: no books were read of {', '.join(unread)}: the address of each is {variables}")
    return restoring.Books(ledgers, read_at)


def _ledgers(settings: Settings) -> Ledgers:
    return read_ledgers({name: url.rstrip("/") for name, url in addresses(settings).items() if name in SERVICES})


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"--at {text}: write an instant, as in 2026-11-29T14:00:00Z") from None
    whole = at.isoformat()
    raise UsageError(f"--at {text}: say of which time zone it is, and the time, as in {whole}Z or {whole}+01:00")


def _said(reason: str) -> str:
    if not has_seen(reason):
        raise UsageError("--reason: say why; it stands in the journal of each")
    return reason.strip()


def _put(output: Output, settings: Settings, moved: restoring.Moved, verb: str, words: str) -> None:
    lines = [f"{moved.count} {words}"]
    for it in moved.left[:SHOWN]:
        of = "" if it.row.tenant == settings.tenant else f"   tenant {it.row.tenant}"
        lines.append(f"{it.row.entity}{of}   {it.row.saga_id}   {it.why}")
    if len(moved.left) > SHOWN:
        lines.append(f"and {len(moved.left) - SHOWN} more; -o json lists all")
    left = [
        {"tenant": it.row.tenant, "entity": it.row.entity, "saga_id": it.row.saga_id, "why": it.why}
        for it in moved.left
    ]
    value: dict[str, Any] = {verb.replace(" ", "_"): moved.count, "left": left}
    put_one(output, value, page(lines))
    if moved.left:
        raise typer.Exit(FAILED)
