"""A database that does not answer, by the name of the setting that says where it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from saga.addresses import shown_url
from saga.errors import StoreUnavailable
from saga.settings import Settings


@contextmanager
def database_named(settings: Settings) -> Iterator[None]:
    """What is wrong while a database is opened is about its URL, most often: `StoreUnavailable` names it, its password
    masked. The embedded journal has no URL that somebody set, so its error stays as it is."""
    try:
        yield
    except StoreUnavailable as error:
        if settings.database_url is None:
            raise
        raise StoreUnavailable(f"SAGA_DATABASE_URL: {shown_url(settings.database_url)}: {error}") from error
