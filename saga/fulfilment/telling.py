"""How a mail gets to a customer: over the mail server that is set, else into the mailbox folder that one can read."""

from email.message import EmailMessage

from saga.errors import NotSent, Rejected, Unknown
from saga.fulfilment import mailbox, smtp
from saga.fulfilment.email_address import sent_to
from saga.settings import Settings, read_settings


def sender() -> str:
    """Who mails come from."""
    return read_settings().mail_from or mailbox.SENDER


def tell(message: EmailMessage, address: str | None, key: str) -> None:
    """At least once: a repeat is the same mail by its Message-ID, which is made of the key.

    Raises what `saga.fulfilment.smtp.send` raises, and `Rejected` `no_address` when a server is set and there is no address.
    A mailbox that cannot be written (a full disk, a folder that is none) is `NotSent`, with the setting that names it; one
    whose disk fails when the mail is there is `Unknown`.
    """
    settings = read_settings()
    if settings.smtp_url is None:
        _keep(settings, key, message)
    elif address is None:
        raise Rejected("no_address")
    else:
        smtp.send(smtp.MailServer.of(settings.smtp_url), message, sent_to(address))


def _keep(settings: Settings, key: str, message: EmailMessage) -> None:
    try:
        mailbox.put(settings.mail_folder, key, message)
    except mailbox.NotKept as error:
        why = (error.strerror or str(error)).lower()
        raise Unknown(
            f"{settings.mail_setting}: a mail is in {settings.mail_folder} and may not stay: {why}"
        ) from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NotSent(f"{settings.mail_setting}: no mail can be put into {settings.mail_folder}: {why}") from error
