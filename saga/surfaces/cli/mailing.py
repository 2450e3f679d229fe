"""`saga mailbox`: the mails that customers were sent, where no mail server takes them."""

from collections.abc import Sequence
from typing import Annotated

import typer

from saga.errors import UsageError
from saga.fulfilment.smtp import MailServer
from saga.settings import Settings
from saga.surfaces.cli.options import NOT_FOUND, Output, OutputOption, put_many, say, settings_and_log
from saga.surfaces.mails import HEADERS, Mail, latest_mails, mails_about
from saga.surfaces.render import DASH, columns
from saga.surfaces.visible import Page, one_line, page

RULE = "-" * 80


def add_to(app: typer.Typer) -> None:
    app.command()(mailbox)


def mailbox(
    ref: Annotated[
        str | None,
        typer.Argument(metavar="[REF]", help="An order or return id, or a Message-ID; all mails without it."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="So many of the newest, without REF.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the mails that customers were sent, newest first, or read those about one order.

    They lie in SAGA_MAILBOX, else in the folder mailbox of SAGA_HOME. With SAGA_SMTP_URL mails go to that server, and
    none is kept here. Exit code 3: there is no such mail.

    \b
    Examples
      saga mailbox
      saga mailbox SO-1001
      saga mailbox -o jsonl
    """
    settings = settings_and_log()
    if settings.smtp_url is not None:
        say(f"saga: mails go to {MailServer.of(settings.smtp_url).place} (SAGA_SMTP_URL); here lie those of before")
    try:
        mails = _found(settings, ref, limit)
    except OSError as error:
        raise UsageError(f"SAGA_MAILBOX: {settings.mail_folder}: {(error.strerror or str(error)).lower()}") from error
    if mails or output is not Output.TABLE:
        put_many(output, [mail.to_json() for mail in mails], _listed(mails) if ref is None else _conversation(mails))
    if not mails:
        about = f" about {one_line(ref)}" if ref is not None else ""
        say(f"saga: no mail{about} in {settings.mail_folder}")
        raise typer.Exit(NOT_FOUND)


def _found(settings: Settings, ref: str | None, limit: int) -> list[Mail]:
    return latest_mails(settings.mail_folder, limit) if ref is None else mails_about(settings.mail_folder, ref)


def _listed(mails: Sequence[Mail]) -> Page:
    """Two lines a mail: a Message-ID is half a line long."""
    heads = columns([(_sent_at(mail), mail.order or DASH, mail.headers["Subject"] or DASH) for mail in mails])
    tails = (f"   to {mail.headers['To'] or DASH}   {mail.headers['Message-ID'] or DASH}" for mail in mails)
    return page(line for pair in zip(heads, tails, strict=True) for line in pair)


def _sent_at(mail: Mail) -> str:
    return f"{mail.sent_at:%Y-%m-%d %H:%M:%S}" if mail.sent_at else DASH


def _conversation(mails: Sequence[Mail]) -> Page:
    return page(map(_whole, mails), between=f"\n{RULE}\n")


def _whole(mail: Mail) -> Page:
    head = columns([(f"{name}:", mail.headers[name] or DASH) for name in HEADERS], gap=" ")
    return page([*head, "", *mail.text.rstrip("\n").split("\n")])
