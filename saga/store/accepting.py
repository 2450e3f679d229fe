"""What becomes of a group of new sagas, given what the database already holds: one function for all three stores.

The order of the questions is the protocol: the idempotency key first (the caller repeats himself), then the entity
(somebody else was faster), then the run number. A saga that is stored under the very id that is offered was accepted
by an earlier call whose COMMIT the caller did not see, so it is ACCEPTED again: accept is idempotent like append.

The latest run of an entity tells everything: a run is only accepted when all before it are `compensated`, and of an entity
that is accepted once for good (`is_once`) none after the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saga.core.projection import ProjectedRow
from saga.core.states import SagaStatus
from saga.store.journal import JournalEntry
from saga.store.port import (
    AcceptResult,
    AcceptStatus,
    NewSaga,
)

RequestKey = tuple[str, str, str]
EntityKey = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """An idempotency row with the run of its saga."""

    request_hash: str
    saga_id: str
    run: int


@dataclass(frozen=True, slots=True)
class LatestRun:
    """The newest saga of an entity."""

    saga_id: str
    run: int
    status: SagaStatus


@dataclass(frozen=True, slots=True)
class FreshSaga:
    """A saga to insert: its run number, and entry 1 written for that run."""

    new: NewSaga
    run: int
    entry: JournalEntry
    row: ProjectedRow | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Answers in the order of the group, and what must be inserted for them to be true."""

    results: list[AcceptResult]
    fresh: list[FreshSaga]


def request_key_of(new: NewSaga) -> RequestKey | None:
    """The primary key of the idempotency row; None when the caller sent no key."""
    return None if new.request_key is None else (new.environment, new.tenant, new.request_key)


def entity_key_of(new: NewSaga) -> EntityKey:
    """What at most one live saga may be about."""
    return (new.environment, new.tenant, new.definition, new.entity)


def settle(
    group: Sequence[NewSaga],
    requests: Mapping[RequestKey, KnownRequest],
    entities: Mapping[EntityKey, LatestRun],
) -> Acceptance:
    """Answer each of the group, an earlier one of the group counting as stored for the later ones."""
    known, latest = dict(requests), dict(entities)
    acceptance = Acceptance([], [])
    for new in group:
        result = _answered(new, known, latest)
        if result is None:
            before = latest.get(entity_key_of(new))
            run = 1 if before is None else before.run + 1
            acceptance.fresh.append(FreshSaga(new, run, new.first_entry(run), new.row(run)))
            latest[entity_key_of(new)] = LatestRun(new.saga_id, run, SagaStatus.RUNNING)
            if (key := request_key_of(new)) is not None:
                known[key] = KnownRequest(new.request_hash or "", new.saga_id, run)
            result = AcceptResult(AcceptStatus.ACCEPTED, new.saga_id, run)
        acceptance.results.append(result)
    return acceptance


def _answered(
    new: NewSaga, known: Mapping[RequestKey, KnownRequest], latest: Mapping[EntityKey, LatestRun]
) -> AcceptResult | None:
    key = request_key_of(new)
    request = None if key is None else known.get(key)
    if request is not None:
        if request.request_hash != (new.request_hash or ""):
            return AcceptResult(AcceptStatus.KEY_REUSED, request.saga_id, request.run)
        status = AcceptStatus.ACCEPTED if request.saga_id == new.saga_id else AcceptStatus.REPLAYED
        return AcceptResult(status, request.saga_id, request.run)
    before = latest.get(entity_key_of(new))
    if before is not None and before.saga_id == new.saga_id:
        return AcceptResult(AcceptStatus.ACCEPTED, before.saga_id, before.run)
    if before is not None and (new.is_once or before.status is not SagaStatus.COMPENSATED):
        return AcceptResult(AcceptStatus.DUPLICATE, before.saga_id, before.run)
    return None
