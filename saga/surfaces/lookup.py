"""Finds sagas by what a person has at hand: an order id, a saga id, or the beginning of either."""

from collections.abc import Iterator
from dataclasses import replace

from saga.errors import SagaNotFound, UsageError
from saga.store.port import SagaFilter, SagaRow, Store

AMBIGUOUS_SHOWN = 5
PAGE = 200


def look_up(store: Store, reference: str) -> SagaRow:
    """The saga meant by `reference`: a whole saga id or entity first (of several runs the last), else a prefix of one.

    Raises `SagaNotFound`, or `UsageError` naming some when a prefix fits several entities.
    """
    if not reference or "\x00" in reference:
        raise SagaNotFound(reference)
    if (row := store.row(reference)) is not None:
        return row
    if exact := store.find(SagaFilter(entity=reference), PAGE):
        return max(exact, key=lambda row: (row.run, row.saga_id))
    found = store.find(SagaFilter(id_prefix=reference), PAGE)
    entities = sorted({row.entity for row in found})
    if not found:
        raise SagaNotFound(reference)
    if len(entities) > 1:
        more = " …" if len(entities) > AMBIGUOUS_SHOWN else ""
        raise UsageError(f"{reference!r} fits several: {', '.join(entities[:AMBIGUOUS_SHOWN])}{more}; type more of it")
    return max(found, key=lambda row: (row.run, row.saga_id))


def pages(store: Store, saga_filter: SagaFilter) -> Iterator[SagaRow]:
    """Every row that passes, newest first, a page at a time."""
    before = saga_filter.before
    while True:
        page = store.find(replace(saga_filter, before=before), PAGE)
        yield from page
        if len(page) < PAGE:
            return
        before = (page[-1].accepted_at, page[-1].saga_id)
