"""A restore that was told of long ago: nothing of the lost part can be on its way any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import select, update

from saga.store.connecting import connect_once
from saga.store.tables import tables_of

AGO = timedelta(minutes=10)


@contextmanager
def told_long_ago(url: str) -> Iterator[None]:
    """Within, every restore that this database was told of was told of ten minutes earlier."""
    _move(url, -AGO)
    yield
    _move(url, AGO)


def _move(url: str, by: timedelta) -> None:
    engine = connect_once(url)
    of = tables_of(engine.dialect.name).restoration
    with engine.begin() as connection:
        for restoration_id, told_at in connection.execute(select(of.c.restoration_id, of.c.told_at)).all():
            row = update(of).where(of.c.restoration_id == restoration_id)
            connection.execute(row.values(told_at=told_at + by))
    engine.dispose()
