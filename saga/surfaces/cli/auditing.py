"""`saga audit`: do the books of the services agree with the journals?"""

import typer

from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.engine import Definitions
from saga.surfaces.audit import audit as audited
from saga.surfaces.audit import render
from saga.surfaces.cli.looking import reading_store
from saga.surfaces.cli.options import Output, OutputOption, put_one, settings_and_log
from saga.surfaces.embedded import addresses

SERVICES = ("inventory", "tax", "shipping", "payment")


def add_to(app: typer.Typer) -> None:
    app.command()(audit)


def audit(output: OutputOption = Output.TABLE) -> None:
    """Check every invariant of fulfil_order against the services' own ledgers; exit code 1 when one is broken.

    Services are found by SAGA_INVENTORY_URL and so on, else those of a `saga dev` that runs in the same SAGA_HOME. What
    cannot be read is reported as not checked.

    \b
    Examples
      saga audit
      saga audit -o json
    """
    settings = settings_and_log()
    urls = {name: url for name, url in addresses(settings).items() if name in SERVICES}
    mails = settings.mail_folder if settings.mail_folder.is_dir() else None
    with reading_store() as store:
        report = audited(store, Definitions([fulfil_order]), urls, mails)
    put_one(output, report.to_json(), render(report))
    raise typer.Exit(report.exit_code)
