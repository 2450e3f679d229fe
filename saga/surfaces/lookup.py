"""Finds sagas by what a person has at hand: an order id, a saga id, or the beginning of either."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from saga.errors import SagaNotFound, UsageError
from saga.scope import EVERYBODY
from saga.store.port import SagaFilter, SagaRow, Store
from saga.surfaces.inputs import SURROGATES

AMBIGUOUS_SHOWN = 5
PAGE = 200
PREFIX_MIN = 8


def look_up(store: Store, reference: str, *, is_changed: bool = False) -> SagaRow:
    """The saga meant by `reference`: a whole saga id or entity first (of several runs the last), else a prefix of one. What is
    of another environment or tenant than the store was opened for is not there. With `is_changed`, for what is done to a saga,
    a prefix has `PREFIX_MIN` characters: every saga id of a day begins with the same few, so a slip would mean somebody's order.

    Raises `SagaNotFound`, or `UsageError` naming some when a prefix fits several entities, or when several tenants have one.
    """
    if not is_storable(reference):
        raise SagaNotFound(reference)
    if (row := store.row(reference)) is not None:
        return row
    if exact := store.find(SagaFilter(entity=reference), PAGE):
        return _latest(reference, exact)
    is_slip = is_changed and len(reference) < PREFIX_MIN
    found = [] if is_slip else store.find(SagaFilter(id_prefix=reference), PAGE)
    entities = sorted({row.entity for row in found})
    if not found:
        raise SagaNotFound(reference, "" if store.scope == EVERYBODY else str(store.scope))
    if len(entities) > 1:
        more = " …" if len(entities) > AMBIGUOUS_SHOWN else ""
        raise UsageError(f"{reference!r} fits several: {', '.join(entities[:AMBIGUOUS_SHOWN])}{more}; type more of it")
    return _latest(reference, found)


def _latest(reference: str, runs: Sequence[SagaRow]) -> SagaRow:
    """The last run; each tenant may have an order of that id."""
    last = {row.tenant: row for row in sorted(runs, key=lambda row: (row.run, row.saga_id))}
    if len(last) > 1:
        some = ", ".join(f"{tenant} (saga {last[tenant].saga_id})" for tenant in sorted(last)[:AMBIGUOUS_SHOWN])
        more = " …" if len(last) > AMBIGUOUS_SHOWN else ""
        raise UsageError(
            f"{reference!r} is of several tenants: {some}{more}; type the saga id of the one that is meant"
        )
    return next(iter(last.values()))


def is_storable(reference: str) -> bool:
    """Whether a journal can hold it, so that it can be looked for: a byte of the command line that is no text is half of a
    surrogate pair here, and no database takes one."""
    return bool(reference) and "\x00" not in reference and not any(ord(letter) in SURROGATES for letter in reference)


def pages(store: Store, saga_filter: SagaFilter) -> Iterator[SagaRow]:
    """Every row that passes, newest first, a page at a time."""
    before = saga_filter.before
    while True:
        page = store.find(replace(saga_filter, before=before), PAGE)
        yield from page
        if len(page) < PAGE:
            return
        before = (page[-1].accepted_at, page[-1].saga_id)
