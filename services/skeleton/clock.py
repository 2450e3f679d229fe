"""The only `now` of the services: of the engine they know the barrier alone, so they have a clock of their own."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, aware UTC."""
    return datetime.now(UTC)
