"""`saga audit`: do the books of the services agree with the journals?"""

import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import requests
import typer

from saga.clock import monotonic
from saga.errors import UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions
from saga.store.port import Store
from saga.surfaces.audit import AuditReport, render
from saga.surfaces.audit import audit as audited
from saga.surfaces.cli.options import (
    UNAVAILABLE,
    USAGE,
    DefinitionOption,
    Output,
    OutputOption,
    definitions_named,
    put_one,
    say,
    settings_and_log,
)
from saga.surfaces.cli.screens import reading_store
from saga.surfaces.embedded import addresses
from saga.surfaces.ledgers import SERVICES
from saga.surfaces.render import duration
from saga.surfaces.submit import session
from saga.surfaces.unanswered import why_unanswered

ASK_S = 5.0
PartialOption = Annotated[
    bool, typer.Option("--partial", help="Do not fail for ledgers that were not read: their service has no address.")
]


def add_to(app: typer.Typer) -> None:
    app.command()(audit)


def audit(
    definition: DefinitionOption = None, partial: PartialOption = False, output: OutputOption = Output.TABLE
) -> None:
    """Check every invariant of fulfil_order against the services' own ledgers; exit code 1 when one is broken.

    It reads the sagas of every tenant of SAGA_ENVIRONMENT, since the services keep the books of all of them together.
    Services are found by SAGA_INVENTORY_URL and so on, else those of a `saga dev` that runs in the same SAGA_HOME. What
    has no address is reported as not checked, and the exit code is 2 without --partial; one that does not answer ends the
    audit with exit code 4. The plans (I4) of other sagas are checked with -d, else with the definitions of
    pyproject.toml; they have no ledgers here, so without the four services they need --partial as well.

    \b
    Examples
      saga audit
      saga audit -d shop:place_order --partial
      saga audit -o json
    """
    settings = settings_and_log()
    urls = {name: url for name, url in addresses(settings).items() if name in SERVICES}
    mails = settings.mail_folder if settings.smtp_url is None and settings.mail_folder.is_dir() else None
    others = [saga for saga in definitions_named(definition) if saga not in (fulfil_order, return_order)]
    began = monotonic()
    with reading_store(settings, all_tenants=True) as store:  # the ledgers do not say whose an order is
        report = _audited(store, Definitions([fulfil_order, return_order, *others]), urls, mails)
    # On the page alone: two audits of the same books print the same JSON.
    cost = f"{duration(monotonic() - began)}, {peak_memory_bytes() / 1e6:,.0f} MB"
    put_one(output, report.to_json(), render(report) + f"   {cost}")
    if report.without_address and not partial:
        say(f"saga: {unread(report.without_address)}")
    raise typer.Exit(0 if partial and report.exit_code == USAGE else report.exit_code)


def peak_memory_bytes() -> int:
    """The most memory that this process has held so far, as its system counts it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def unread(services: Sequence[str]) -> str:
    """Which ledgers were not read, which settings name them, and what to type when that is right."""
    settings = ", ".join(f"SAGA_{service.upper()}_URL" for service in services)
    return (
        f"no address of {', '.join(services)}, so their ledgers were not read; run  saga dev  in the same SAGA_HOME, set {settings}, "
        "or say --partial "
        "(a saga of your own, audited with -d, has no such ledgers: it needs --partial too)"
    )


def _audited(store: Store, definitions: Definitions, urls: Mapping[str, str], mails: Path | None) -> AuditReport:
    try:
        return audited(store, definitions, urls, mails)
    except UsageError as error:
        silent = silences(urls) if isinstance(error.__cause__, requests.RequestException) else {}
        if not silent:
            raise
    for service, why in silent.items():
        say(f"saga: {service} does not answer at {urls[service]} ({why}); start it, or mend SAGA_{service.upper()}_URL")
    raise typer.Exit(UNAVAILABLE)


def silences(urls: Mapping[str, str]) -> dict[str, str]:
    """The services that do not answer, and in which way: service → a few words."""
    found = {}
    with session() as asking:
        for service, url in urls.items():
            try:
                status = asking.get(f"{url.rstrip('/')}/v1/ledger?limit=1", timeout=ASK_S).status_code
            except requests.Timeout:
                found[service] = f"nothing within {ASK_S:.0f} s"
            except requests.RequestException as error:
                found[service] = why_unanswered(error)
            else:
                if status >= 500 or status == 429:
                    found[service] = f"HTTP {status}"
    return found
