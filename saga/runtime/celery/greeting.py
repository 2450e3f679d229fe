"""One look at a broker before anything relies on it: a URL that means nothing, and a broker that refuses who we are.

Rules of this file: a broker that is away is none of its affair, since everything goes on without one; what a person has to
mend is. Who was refused is told by the name of the error's class, because the libraries of the brokers are installed only
where they are used. A password never gets into a message.
"""

from kombu import Connection
from kombu.transport import TRANSPORT_ALIASES

from saga.errors import BrokerRefuses, UsageError
from saga.runtime.celery.broker import MASTER, SENTINEL, SentinelsDiffer, read_broker, within

GREETING_S = 2.0
REFUSALS = frozenset({"AccessRefused", "NotAllowed", "AuthenticationError", "NoPermissionError", "ResponseError"})
"""Of amqp: login, virtual host. Of redis: password, rights, number of the database."""
SENTINEL_REFUSES = "AuthenticationError"
GREETED = frozenset({"amqp", "amqps", "pyamqp", "redis", "rediss", "redis+socket", SENTINEL})
"""The schemes whose brokers are asked; of the others only the URL is read."""


def checked_broker(broker_url: str, setting: str) -> None:
    """Raises `UsageError` naming `setting` for a URL that no library here can read. Connects to nothing."""
    scheme = broker_url.partition(":")[0]
    try:
        broker = read_broker(broker_url)
        databases = {_database_of(url) for url in broker.url.split(";")}
    except SentinelsDiffer as error:
        raise UsageError(f"{setting}: {error}") from error
    except ImportError as error:
        raise UsageError(f"{setting}: {scheme}:// needs a package that is not installed: {error.name}") from error
    except (ValueError, KeyError, TypeError) as error:  # whose text may hold a piece of a password
        raise UsageError(f"{setting}: {_what_is_wrong(broker_url)}") from error
    if scheme in {"redis", "rediss", SENTINEL} and not all(it.isdecimal() for it in databases if it):
        raise UsageError(f"{setting}: a database of Redis is a number, as in redis://host:6379/0")
    if scheme == SENTINEL and not broker.options.get(MASTER):
        raise UsageError(
            f"{setting}: a Sentinel is asked for a master by its name: sentinel://host:26379/0?{MASTER}=NAME; a password of the "
            "Sentinel's own is  &sentinel_password=..."
        )


def _database_of(url: str) -> str:
    """The database or virtual host of a broker that kombu can read. Raises what kombu raises."""
    with Connection(url) as connection:
        _ = connection.transport
        return connection.virtual_host.strip("/")


def _what_is_wrong(broker_url: str) -> str:
    """What a person has to look at in an address that no library here can read."""
    scheme, _, rest = broker_url.partition(":")
    if scheme.partition("+")[0] not in TRANSPORT_ALIASES:
        return "what stands before '://' names no broker that is known here; amqp://, redis:// and sentinel:// are"
    if "?" in rest and _is_readable(broker_url.partition("?")[0]):
        return "what stands behind '?' is not understood; leave it away, user and password stand before the host"
    return "is no address; write scheme://user:password@host:port/, and in a password %2F for / and %40 for @"


def _is_readable(broker_url: str) -> bool:
    try:
        _database_of(broker_url)
    except (ValueError, KeyError, TypeError):
        return False
    return True


def greeted_broker(broker_url: str, setting: str) -> None:
    """Connect once. Raises `UsageError` as `checked_broker` does, `BrokerRefuses` when it answers and refuses us. Takes `GREETING_S` at
    most where nobody answers, for each Sentinel where there are several, a slow name server aside."""
    checked_broker(broker_url, setting)
    if broker_url.partition(":")[0] not in GREETED:
        return
    broker = read_broker(broker_url)
    options = {**broker.options, **within(broker.url.partition(":")[0], broker.options, GREETING_S)}
    with Connection(broker.url, connect_timeout=GREETING_S, transport_options=options, heartbeat=0) as connection:
        try:
            transport = connection.transport
            transport.close_connection(transport.establish_connection())  # `connect` would try twice, with a pause
        except (*connection.connection_errors, *connection.channel_errors) as error:
            if any(cause.__name__ in REFUSALS for cause in type(error).__mro__):
                reason = getattr(error, "reply_text", None) or str(error)
                raise BrokerRefuses(f"{setting}: {connection.as_uri()} refuses: {reason}") from error
            if SENTINEL_REFUSES in str(error):  # of several Sentinels, in the text about a master that was not found
                reason = "a Sentinel does not know its user and password (sentinel_username, sentinel_password)"
                raise BrokerRefuses(f"{setting}: {connection.as_uri()} refuses: {reason}") from None
