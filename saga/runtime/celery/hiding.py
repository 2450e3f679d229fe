"""Passwords of a broker are taken out of what its libraries say of a failure.

redis-py 6 and 7 put every argument of a connection into the text of "No master found", which Celery writes into the log whenever a
Sentinel is away. So what is logged of a broker goes through here, with its traceback, whatever library is installed.
"""

import logging
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from celery import Celery
from kombu import Connection

from saga.runtime.celery.broker import OF_SENTINELS

TALKERS = (
    "celery.worker",
    "celery.worker.worker",
    "celery.worker.consumer.consumer",
    "celery.worker.consumer.connection",
    "celery.bootsteps",
    "kombu.connection",
    "kombu.transport.redis",
)
"""The loggers of whoever tells that a broker failed; a filter of a logger does not hold for those below it."""
HIDDEN = "***"
_FORMATTER = logging.Formatter()


def secrets_of(app: Celery) -> frozenset[str]:
    """The passwords of the broker of an app."""
    found: set[str] = set()
    for connection in (app.connection_for_read(), app.connection_for_write()):
        found |= _secrets_in(connection)
    return frozenset(found | {quote(it, safe="") for it in found})


def _secrets_in(connection: Connection) -> set[str]:
    options = connection.transport_options or {}
    passwords = [connection.password, (options.get(OF_SENTINELS) or {}).get("password")]
    passwords += [urlsplit(str(url)).password for url in connection.alt]
    return {str(it) for it in passwords if it}


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text without the passwords."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, HIDDEN)
    return text


class Hiding(logging.Filter):
    """Takes passwords out of records, which all pass."""

    def __init__(self, secrets: frozenset[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """True; what the record says is changed where it has to be."""
        try:
            said = record.getMessage()
        except (TypeError, ValueError, KeyError):  # its arguments do not fit: logging says so by itself, without them
            said = record.msg = hidden(str(record.msg), self._secrets)
            record.args = ()
        if (safe := hidden(said, self._secrets)) != said:
            record.msg, record.args = safe, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = _FORMATTER.formatException(record.exc_info)
        record.exc_text = record.exc_text and hidden(record.exc_text, self._secrets)
        return True


def hide_secrets_of(app: Celery) -> None:
    """From now on in this process."""
    if secrets := secrets_of(app):
        hiding = Hiding(secrets)
        for name in TALKERS:
            logging.getLogger(name).addFilter(hiding)
