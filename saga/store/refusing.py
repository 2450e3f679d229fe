"""What a database refuses as data, and how one refused item is kept from spoiling its group.

PostgreSQL refuses by itself; SQLite would store a NUL byte and the memory store anything, so those two ask
`append_refusal` and `saga_refusal` first. One suite holds the three to the same answers.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from saga.core.projection import ProjectedRow
from saga.errors import SagaError, StoreUnavailable
from saga.log import logger
from saga.store.accepting import FreshSaga
from saga.store.journal import JournalEntry
from saga.store.port import (
    Append,
    AppendResult,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

HASH_LENGTH = 32
INT32 = range(-(2**31), 2**31)
INT64 = range(-(2**63), 2**63)
SIGNS = (-1, 1)


class Refused(SagaError):
    """The database refuses data of this statement; which item of a group it was is found by trying them singly.

    A caller meets it only when he asks for an id that no database can hold.
    """


def in_order(group: Sequence[Append]) -> list[Append]:
    """The group sorted by saga id, so that two groups cannot deadlock; two entries of one saga are a caller's bug."""
    ordered = sorted(group, key=lambda item: item.saga_id)
    for one, other in pairwise(ordered):
        if one.saga_id == other.saga_id:
            raise ValueError(f"saga {one.saga_id} stands twice in one group; the unit of append is one decision")
    return ordered


def isolate(
    group: Sequence[Item],
    together: Callable[[Sequence[Item]], list[Result]],
    refused: Callable[[Item, str], Result],
) -> list[Result]:
    """Answers of `together`; when it raises Refused, of each item on its own, so that only the bad one is refused."""
    try:
        return together(group)
    except Refused as error:
        if len(group) == 1:
            return [refused(group[0], str(error))]
    return [isolate([item], together, refused)[0] for item in group]


def keeping_decisions(
    group: Sequence[Append], append: Callable[[Sequence[Append]], list[AppendResult]]
) -> list[AppendResult]:
    """`append(group)`, however the rows of projections fare: whatever is wrong with one costs neither its own decision nor a
    neighbour's. When a group with rows fails, each saga is appended by itself, and one that fails again without its row."""
    rows = [item.row for item in group if item.row is not None]
    if not rows:
        return append(group)
    keys = {(row.projection.table, row.key) for row in rows}
    if len(keys) == len(rows):  # two rows of one key in one statement would be one of them, or none
        try:
            results = append(group)
        except StoreUnavailable:
            raise
        except Exception as error:  # a constraint, a trigger, a type: the table is its owner's
            logger.warning("rows_refused", error=f"{type(error).__name__}: {error}", count=len(rows))
        else:
            return [
                _without_row(item, append, "refused")
                if result is AppendResult.REFUSED and item.row is not None
                else result
                for item, result in zip(group, results, strict=True)
            ]
    return [_apart(item, append) for item in group]


def _apart(item: Append, append: Callable[[Sequence[Append]], list[AppendResult]]) -> AppendResult:
    try:
        result = append([item])[0]
    except StoreUnavailable:
        raise
    except Exception as error:  # as above
        if item.row is None:
            raise
        return _without_row(item, append, f"{type(error).__name__}: {error}")
    is_row = result is AppendResult.REFUSED and item.row is not None
    return _without_row(item, append, "refused") if is_row else result


def _without_row(item: Append, append: Callable[[Sequence[Append]], list[AppendResult]], why: str) -> AppendResult:
    result = append([replace(item, row=None)])[0]
    if result is AppendResult.APPENDED and item.row is not None:
        logger.error("row_left_out", saga_id=item.saga_id, reason=item.row.projection.table, error=why)
    return result


def append_refusal(item: Append) -> str | None:
    """Why a database would refuse this entry; None when it would not."""
    words = [item.saga_id, *_entry_words(item.entry)]
    if item.row is not None and (why := row_refusal(item.row)):
        return why
    for effect in item.effects:
        words += [effect.node, effect.kind, effect.unit]
        if effect.sign not in SIGNS:
            return f"effect of {effect.node}: sign {effect.sign} is neither -1 nor 1"
        if effect.quantity not in INT64:
            return f"effect of {effect.node}: quantity {effect.quantity} is out of range"
    return _entry_refusal(item.entry) or _words_refusal(words)


def saga_refusal(fresh: FreshSaga) -> str | None:
    """Why a database would refuse this new saga; None when it would not."""
    new = fresh.new
    if new.version not in INT32 or new.priority not in INT32:
        return f"version {new.version} or priority {new.priority} is out of range"
    words = [new.saga_id, new.environment, new.tenant, new.definition, new.fingerprint, new.entity]
    words += [new.request_key or "", new.request_hash or "", *_entry_words(fresh.entry)]
    row_fault = None if fresh.row is None else row_refusal(fresh.row)
    return _entry_refusal(fresh.entry) or _words_refusal(words) or row_fault


def row_refusal(row: ProjectedRow) -> str | None:
    """Why a database would refuse the values of this row, whatever constraints its table has."""
    for name, value in zip(row.projection.names, row.values, strict=True):
        if isinstance(value, int) and value not in INT64:
            return f"{row.projection.table}.{name}: {value} is out of range"
    return _words_refusal(value for value in row.values if isinstance(value, str))


def _entry_words(entry: JournalEntry) -> list[str]:
    return [entry.writer, entry.actor, entry.reason or "", entry.body]


def _entry_refusal(entry: JournalEntry) -> str | None:
    if len(entry.prev_hash) != HASH_LENGTH:
        return f"prev_hash has {len(entry.prev_hash)} bytes instead of {HASH_LENGTH}"
    if entry.seq < 1 or entry.seq not in INT32 or entry.min_reader_version < 1:
        return f"seq {entry.seq} or min_reader_version {entry.min_reader_version} is out of range"
    return None


def _words_refusal(words: Iterable[str]) -> str | None:
    for word in words:
        if "\0" in word:
            return "text cannot hold a NUL byte"
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            return "text cannot hold a lone surrogate"
    return None
