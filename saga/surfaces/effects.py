"""What a saga did in the world and what it took back, in the units of a person: pieces, labels, money.

Rules of this file: functions of effect rows, which are what the participants reported. Nothing is added up that was not
reported; a saga whose participants report nothing has no table.
"""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from saga.core.fold import SagaState
from saga.core.states import SagaStatus
from saga.fulfilment.money import shown, was_known_currency
from saga.store.port import EffectRow
from saga.surfaces.belongings import result_of
from saga.surfaces.render import DASH, columns
from saga.surfaces.visible import Page, one_line, page

MONEY, LABEL = "money", "label"


class EffectReading(BaseModel):
    """All movements of one kind and unit."""

    kind: str
    unit: str
    done: int = Field(description="minor units where the kind is money")
    undone: int
    net: int
    note: str = Field(description="what the participant calls it, such as a tracking number")


def read_effects(rows: Sequence[EffectRow], state: SagaState) -> list[EffectReading]:
    """The movements by kind and unit."""
    found: dict[tuple[str, str], EffectReading] = {}
    for row in rows:
        key = (row.kind, row.unit)
        one = found.setdefault(key, EffectReading(kind=row.kind, unit=row.unit, done=0, undone=0, net=0, note=""))
        if row.sign > 0:
            one.done += row.quantity
        else:
            one.undone += row.quantity
        one.net += row.sign * row.quantity
        if row.kind == LABEL and isinstance(tracking := result_of(state, row.node).get("tracking"), str):
            one.note = tracking
    return [found[key] for key in sorted(found)]


def effects_table(effects: Sequence[EffectReading], status: SagaStatus) -> Page:
    """The table, with the verdict that a saga that was rolled back owes."""
    if not effects:
        return Page()
    rows = [("effects", "done", "undone", "net", "")]
    for one in effects:
        name = " ".join(filter(None, (one.kind, one.unit, one.note)))
        undone = _amount(one, -one.undone) if one.undone else DASH
        rows.append((f"  {one_line(name)}", _amount(one, one.done), undone, _amount(one, one.net), ""))
    if status is SagaStatus.COMPENSATED:
        is_even = all(one.net == 0 for one in effects)
        rows[-1] = (*rows[-1][:4], "✓ nets to zero" if is_even else "✗ does not net to zero")
    return page(columns(rows, right=frozenset({1, 2, 3}), gap="   "))


def _amount(one: EffectReading, quantity: int) -> str:
    if one.kind == MONEY and was_known_currency(one.unit):
        return shown(quantity, one.unit)
    return f"{quantity:+,}" if quantity else "0"
