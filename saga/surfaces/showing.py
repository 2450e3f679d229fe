"""Everything that one screen says of one saga, read once: `look_at` reads, `Shown` is what was found.

Rules of this file: reads only, each bounded, no text for people. The rows around the journal are compared with it as the
audit does it, so "fold = state" on the screen is a finding and no decoration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from saga.core.definition import Saga
from saga.core.fold import SagaState, evolve
from saga.core.plan import may_be_past_return
from saga.core.states import ENDED, HaltReason
from saga.core.transitions import SagaHalted
from saga.errors import SagaNotFound
from saga.fulfilment.view import OrderView
from saga.runtime.engine import Definitions
from saga.store.port import SagaRow, Store
from saga.surfaces import audit_rows
from saga.surfaces.attempts import AttemptReading, read_attempts
from saga.surfaces.belongings import Kin, Told, kin, told, view_of
from saga.surfaces.cancelling import let_go_words, waits_for_person, what_moves
from saga.surfaces.effects import EffectReading, read_effects
from saga.surfaces.partly import UNREADABLE, UnreadableReading, read_partly
from saga.surfaces.reading import SagaReading, read_saga


@dataclass(frozen=True, slots=True)
class Shown:
    """One saga as of one look at it."""

    saga: SagaReading
    definition: Saga[Any] | None
    attempts: list[AttemptReading]
    effects: list[EffectReading]
    told: Told | None
    view: OrderView | None
    kin: list[Kin]
    returns_before: int
    """So many returns before those that are among `kin`."""
    faults: tuple[str, ...]
    """What its row and its effect rows say otherwise than the journal."""
    lacks: str
    """What the journal lacks of what its row remembers; empty when it is whole as far as anybody knows."""
    is_moving: bool
    """Something was appended during each look, so they could not be compared."""
    can_cancel: bool | None
    """Whether a cancel would roll it back now; None when this process does not have the definition."""
    moved_by: str
    """What moves a saga that waits for a person; empty when it does not."""
    options: str
    """What whoever reads it must type besides, so that a command has the definition."""
    at: datetime
    """The database's clock at the look."""

    def to_json(self, *, with_attempts: bool) -> dict[str, Any]:
        """The saga as the HTTP API shows it, and the rest beside it."""
        value = self.saga.model_dump(mode="json")
        value["effects"] = [one.model_dump(mode="json") for one in self.effects]
        value["order_status"] = self.view.value if self.view else None
        value["told"] = self.told.model_dump(mode="json") if self.told else None
        value["belongs"] = [one.model_dump(mode="json") for one in self.kin]
        value["returns_before"] = self.returns_before
        value["row_faults"] = None if self.is_moving else [*self.faults, *([self.lacks] if self.lacks else [])]
        value["can_cancel"] = self.can_cancel
        if with_attempts:
            value["attempts"] = [one.model_dump(mode="json") for one in self.attempts]
        return value


def look_at(store: Store, row: SagaRow, sagas: list[Saga[Any]], mail_folder: Path, options: str = "") -> Shown:
    """Read one saga, as far as its journal can be read. `options` as in `Shown`. Raises `SagaNotFound` without a journal."""
    definitions = Definitions(sagas)
    entries = store.load([row.saga_id]).get(row.saga_id)
    if not entries:
        raise SagaNotFound(row.saga_id)
    effects, unreadable = store.effects(row.saga_id), None
    try:
        seen = audit_rows.settled(store, definitions, row, entries, effects)
    except UNREADABLE:
        part = read_partly(row, entries)
        unreadable = part.unreadable
        why = () if unreadable is None else (f"entry {unreadable.seq} cannot be read: {unreadable.why}",)
        seen = audit_rows.Seen(row, entries, effects, part.state, part.journal, why)
    state = _as_its_row_says(seen, unreadable)
    definition = audit_rows.known(definitions, state)
    kindred, returns_before = kin(store, seen.row, state)
    return Shown(
        saga=read_saga(state, seen.entries[-1].seq, definition, unreadable),
        definition=definition,
        attempts=read_attempts(seen.journal),
        effects=read_effects(seen.effects, state),
        told=told(state, mail_folder),
        view=view_of(state),
        kin=kindred,
        returns_before=returns_before,
        faults=seen.faults,
        lacks=seen.lacks,
        is_moving=seen.is_moving,
        can_cancel=_can_cancel(definition, state),
        moved_by=_moved_by(seen, state, unreadable, options),
        options=options,
        at=store.now(),
    )


def _as_its_row_says(seen: audit_rows.Seen, unreadable: UnreadableReading | None) -> SagaState:
    """The saga; halted, when its row was marked since its journal is damaged: the journal itself cannot say so."""
    state, row = seen.state, seen.row
    if row.halt_reason is not HaltReason.JOURNAL_DAMAGED or state.is_held or state.status in ENDED:
        return state
    why = seen.lacks or (unreadable.why if unreadable else "")
    return evolve(state, SagaHalted(seen.entries[-1].at, HaltReason.JOURNAL_DAMAGED, None, why))


def _moved_by(seen: audit_rows.Seen, state: SagaState, unreadable: UnreadableReading | None, options: str) -> str:
    if unreadable is not None and state.is_held:
        return "no command of this release moves it; its entries from a backup do"
    if seen.lacks:
        return let_go_words(state, options)
    return what_moves(state, options) if waits_for_person(state) else ""


def _can_cancel(definition: Saga[Any] | None, state: SagaState) -> bool | None:
    if state.status in ENDED or waits_for_person(state) or state.cancel is not None or state.cause is not None:
        return False
    return None if definition is None else not may_be_past_return(definition, state)


def levels(definition: Saga[Any]) -> Mapping[str, tuple[int, bool]]:
    """Step → how many steps deep it stands in the definition, from 1, and whether another may run beside it."""
    depth: dict[str, int] = {}
    for step in definition.order:
        depth[step.name] = 1 + max((depth[name] for name in step.after), default=0)
    return {
        one.name: (
            depth[one.name],
            any(
                one.name not in other.ancestors and other.name not in one.ancestors
                for other in definition.order
                if other is not one
            ),
        )
        for one in definition.order
    }
