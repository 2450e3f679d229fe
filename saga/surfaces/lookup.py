"""Finds sagas by what a person has at hand: an order id, a saga id, or the beginning of either."""

from collections.abc import Iterator
from dataclasses import replace

from saga.errors import SagaNotFound, UsageError
from saga.store.port import SagaFilter, SagaRow, Store
from saga.surfaces.inputs import SURROGATES

AMBIGUOUS_SHOWN = 5
PAGE = 200
Scope = tuple[str, str]
"""An environment and a tenant."""


def look_up(store: Store, reference: str, scope: Scope | None = None) -> SagaRow:
    """The saga meant by `reference`: a whole saga id or entity first (of several runs the last), else a prefix of one.

    A command that changes something gives its `scope`: then only a saga of that environment and tenant is meant, since the same
    order id may be in several. Without it, for reading, any is found.

    Raises `SagaNotFound`, or `UsageError` naming some when a prefix fits several entities, or naming its owner when the saga
    is there and not in the scope.
    """
    if not is_storable(reference):
        raise SagaNotFound(reference)
    if (row := store.row(reference)) is not None:
        return _in_scope(row, scope)
    owned = SagaFilter() if scope is None else SagaFilter(environment=scope[0], tenant=scope[1])
    if exact := store.find(replace(owned, entity=reference), PAGE):
        return max(exact, key=lambda row: (row.run, row.saga_id))
    found = store.find(replace(owned, id_prefix=reference), PAGE)
    entities = sorted({row.entity for row in found})
    if not found:
        if scope is not None and (elsewhere := store.find(SagaFilter(entity=reference), 1)):
            return _in_scope(elsewhere[0], scope)
        raise SagaNotFound(reference)
    if len(entities) > 1:
        more = " …" if len(entities) > AMBIGUOUS_SHOWN else ""
        raise UsageError(f"{reference!r} fits several: {', '.join(entities[:AMBIGUOUS_SHOWN])}{more}; type more of it")
    return max(found, key=lambda row: (row.run, row.saga_id))


def is_storable(reference: str) -> bool:
    """Whether a journal can hold it, so that it can be looked for: a byte of the command line that is no text is half of a
    surrogate pair here, and no database takes one."""
    return bool(reference) and "\x00" not in reference and not any(ord(letter) in SURROGATES for letter in reference)


def _in_scope(row: SagaRow, scope: Scope | None) -> SagaRow:
    if scope not in (None, (row.environment, row.tenant)):
        raise UsageError(
            f"saga {row.saga_id} is of environment {row.environment}, tenant {row.tenant}; "
            "set SAGA_ENVIRONMENT and SAGA_TENANT to theirs"
        )
    return row


def pages(store: Store, saga_filter: SagaFilter) -> Iterator[SagaRow]:
    """Every row that passes, newest first, a page at a time."""
    before = saga_filter.before
    while True:
        page = store.find(replace(saga_filter, before=before), PAGE)
        yield from page
        if len(page) < PAGE:
            return
        before = (page[-1].accepted_at, page[-1].saga_id)
