"""How a mail gets to a customer: over the mail server that is set, else into the mailbox folder that one can read."""

from email.message import EmailMessage

from saga.errors import Rejected
from saga.fulfilment import mailbox, smtp
from saga.settings import read_settings


def sender() -> str:
    """Who mails come from."""
    return read_settings().mail_from or mailbox.SENDER


def tell(message: EmailMessage, address: str | None, key: str) -> None:
    """At least once: a repeat is the same mail by its Message-ID, which is made of the key.

    Raises what `saga.fulfilment.smtp.send` raises, and `Rejected` `no_address` when a server is set and there is no address.
    """
    settings = read_settings()
    if settings.smtp_url is None:
        mailbox.put(settings.mail_folder, key, message)
    elif address is None:
        raise Rejected("no_address")
    else:
        smtp.send(smtp.MailServer.of(settings.smtp_url), message, address)
