"""What the audit may not ask of a journal that was restored: the part between its backup and the restore is at participants only.

Rules of this file
------------------
- Effects of the lost part have their intent in no journal. Those of a run that a journal knows are judged by the order's own sums
  (I1, I2, I8): the restored saga does them again under the same keys. What no journal knows is a violation until somebody answers
  for it (`saga db settle`).
- An answer is for an entity of one tenant. Which effects are of its lost runs is known by their keys, which are derived as the
  engine derives them: so a lost second run of a known order, or a lost return of one, can be answered for, and nothing else of
  that order is. It covers effects of the lost part alone.
- Whoever undid an order by hand left keys that nobody can derive. They are covered by the order's id, where it can mean no other:
  no journal knows that entity, and the database has sagas of that tenant only.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from saga.core.keys import logical_key, wire_key
from saga.core.states import Direction
from saga.runtime.engine import Definitions
from saga.store.port import SagaFilter, SagaRow, Store
from saga.store.restoring import Restoration, Settled
from saga.surfaces.audit_mails import Mails
from saga.surfaces.ledgers import BarrierRow, Ledgers, Movement
from saga.surfaces.taking_back import return_id_of

CLOCK_SKEW = timedelta(seconds=1)
"""A participant's clock and the database's may differ by so much."""
LOST_MAX = 20
"""So many runs of an entity, and so many returns of an order, are looked for that no journal knows."""


@dataclass(frozen=True, slots=True)
class LostPart:
    """The parts that were lost, and the entities that somebody has answered for."""

    restorations: Sequence[Restoration] = ()
    settled: Sequence[Settled] = ()

    def has(self, at: datetime) -> bool:
        """Whether something that happened then may be in no journal."""
        return any(it.restored_to - CLOCK_SKEW <= at <= it.told_at + CLOCK_SKEW for it in self.restorations)


def lost_part(store: Store) -> LostPart:
    """As the store has it."""
    return LostPart(store.restorations(), store.settled())


@dataclass
class KnownRuns:
    """The latest run of each entity that a journal knows, and whose sagas there are."""

    runs: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    """By environment, tenant, definition and entity."""
    entities: set[str] = field(default_factory=set)
    tenants: set[tuple[str, str]] = field(default_factory=set)

    def add(self, row: SagaRow) -> None:
        whose = (row.environment, row.tenant, row.definition, row.entity)
        self.runs[whose] = max(row.run, self.runs.get(whose, 0))
        self.entities.add(row.entity)
        self.tenants.add((row.environment, row.tenant))

    def lost_keys(self, definitions: Definitions, environment: str, tenant: str, entity: str) -> Iterator[str]:
        """The wire keys of the runs of an entity that would come behind those that are known."""
        for definition in definitions:
            known = self.runs.get((environment, tenant, definition.name, entity), 0)
            for run in range(known + 1, known + 1 + LOST_MAX):
                for step in definition.order:
                    for direction in Direction:
                        connector = step.connector_in(direction)
                        logical = logical_key(definition.name, entity, run, f"{step.name}:{direction}")
                        yield wire_key(environment, tenant, logical, connector.key_max if connector else 32)


@dataclass(frozen=True, slots=True)
class Answered:
    """What somebody has answered for: the effects under these keys in the lost part, and everything of these orders."""

    lost: LostPart
    keys: frozenset[str] = frozenset()
    entities: frozenset[str] = frozenset()

    def covers(self, it: Movement | BarrierRow) -> bool:
        return it.order_id in self.entities or (it.key in self.keys and self.lost.has(it.at))

    def taken_off(self, ledgers: Ledgers) -> Ledgers:
        """The ledgers without it. What they add up to per SKU stays."""
        if not self.lost.settled:
            return ledgers
        by_order = {
            order_id: [it for it in found if not self.covers(it)] for order_id, found in ledgers.by_order.items()
        }
        by_key = {key: [it for it in found if not self.covers(it)] for key, found in ledgers.by_key.items()}
        barrier = {key: [it for it in found if not self.covers(it)] for key, found in ledgers.barrier.items()}
        return replace(ledgers, by_order=by_order, by_key=by_key, barrier=barrier)

    def taken_off_mails(self, mails: Mails) -> Mails:
        """The mails without it; a mail has its key as its name."""
        return Mails(self._left(mails.orders), self._left(mails.returns), mails.nameless)

    def _left(self, mails: dict[str, list[str]]) -> dict[str, list[str]]:
        left = {
            entity: [name for name in names if name not in self.keys]
            for entity, names in mails.items()
            if entity not in self.entities
        }
        return {entity: names for entity, names in left.items() if names}


def answered(lost: LostPart, definitions: Definitions, known: KnownRuns) -> Answered:
    """What the answers that were given cover, once every journal was read."""
    keys, entities = set[str](), set[str]()
    tenants = known.tenants | {(it.environment, it.tenant) for it in lost.settled}
    for it in lost.settled:
        keys |= set(known.lost_keys(definitions, it.environment, it.tenant, it.entity))
        if it.entity not in known.entities and len(tenants) == 1 and it.entity:  # a row of no order is no order's
            entities.add(it.entity)
    return Answered(lost, frozenset(keys), frozenset(entities))


def lost_runs(
    lost: LostPart,
    definitions: Definitions,
    known: KnownRuns,
    ledgers: Ledgers,
    order_ids: Iterable[str],
    known_keys: set[str],
) -> Iterator[tuple[str, int]]:
    """The runs and returns of known orders that no journal knows: the entity to answer for, and how many rows of ledgers are its."""
    for order_id in order_ids:
        movements = ledgers.by_order.get(order_id, ()) if lost.restorations else ()
        keys = [it.key for it in movements if it.key not in known_keys and lost.has(it.at)]
        if not keys:
            continue
        for entity in (order_id, *(return_id_of(order_id, number) for number in range(1, LOST_MAX + 1))):
            for environment, tenant in sorted(known.tenants):
                own = set(known.lost_keys(definitions, environment, tenant, entity))
                if count := sum(key in own for key in keys):
                    yield entity, count


def has_lost_run(
    store: Store, definitions: Definitions, ledgers: Ledgers, rows: Iterable[SagaRow], whose: SagaFilter
) -> bool:
    """Whether participants have something, of the lost part, of a later run of the entity of `whose` than those that journals know
    (`rows`, all that it finds)."""
    lost, known = lost_part(store), KnownRuns()
    for row in rows:
        known.add(row)
    keys = known.lost_keys(definitions, whose.environment or "", whose.tenant or "", whose.entity or "")
    return any(lost.has(it.at) for key in keys for it in (*ledgers.by_key.get(key, ()), *ledgers.barrier.get(key, ())))
