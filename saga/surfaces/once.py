"""Every effect once: under a key that a journal promised, after its intent, by the right participant (invariant I3).

Rules of this file: the keys of a journal are derived again from definition, entity, run and node, so a key that was made
per attempt is seen even when nothing was done under it. A movement needs a barrier row, and a key has at most one applied
effect. Stock that is provisioned and holds that expire by themselves belong to no saga.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from saga.barrier import TOMBSTONE
from saga.core import transitions as t
from saga.core.definition import Saga
from saga.core.fold import SagaState
from saga.core.keys import keys_of, logical_key, wire_key
from saga.core.states import Direction
from saga.surfaces.audit_lost import CLOCK_SKEW
from saga.surfaces.invariants import (
    AVAILABLE,
    HOLDS,
    MERCHANT,
    RESERVED,
    SHIPPED,
    Invariant,
    Violation,
    sums_of,
)
from saga.surfaces.ledgers import OUTSIDE, PAYMENT, STOCK, TAX, WITH_BARRIER, BarrierRow, Ledgers, Movement

Lost = Callable[[datetime], bool]
"""Whether an instant is of a part that a restored journal lacks."""


def key_faults(
    definition: Saga[Any] | None,
    state: SagaState,
    started: Mapping[str, t.AttemptStarted],
    ledgers: Ledgers,
    order_id: str,
    is_lost: Lost,
) -> Iterator[Violation]:
    """What was done under the keys of one saga: by the participant and for the order of the key, after its intent, and
    once. `started` is the first attempt of each node; participants know its effects by `order_id`. An intent of the part
    that a restored journal lacks cannot be asked for."""
    for node, intent in started.items():
        key = intent.wire_key or ""
        effects = ledgers.by_key.get(key, [])
        for detail in (
            *_key_derived(definition, state, node, intent),
            *_effects_under(key, effects, ledgers),
            *(_effect_fault(it, order_id, node, intent, is_lost) for it in (*effects, *ledgers.barrier.get(key, ()))),
        ):
            if detail:
                yield Violation(Invariant.ONCE, state.entity, state.saga_id, f"{node}: {detail}")


def closed_keys(
    definition: Saga[Any] | None, state: SagaState, started: Mapping[str, t.AttemptStarted]
) -> Iterator[str]:
    """The keys of actions that a saga undid and that its journal never sent: after a restore it undoes by the key that the lost
    part must have sent, and leaves a tombstone under it where nothing was done."""
    for name, _, direction in (node.rpartition(":") for node in started):
        step = definition.by_name.get(name) if definition else None
        action = f"{name}:{Direction.ACTION}"
        if direction == Direction.COMPENSATION and action not in started:
            logical = logical_key(state.definition, state.entity, state.run, action)
            yield (
                keys_of(state, step, Direction.ACTION)[1]
                if step
                else wire_key(state.environment, state.tenant, logical)
            )


def _key_derived(definition: Saga[Any] | None, state: SagaState, node: str, intent: t.AttemptStarted) -> Iterator[str]:
    logical = logical_key(state.definition, state.entity, state.run, node)
    if intent.key != logical:
        yield f"its key is {intent.key} and must be {logical}"
    if definition is None or node.rpartition(":")[0] not in definition.by_name:
        return
    wire = keys_of(state, *definition.node(node))[1]
    if intent.wire_key != wire:
        yield f"its wire key is {intent.wire_key} and must be {wire}"


def _effects_under(key: str, effects: Sequence[Movement], ledgers: Ledgers) -> Iterator[str]:
    seen: dict[tuple[str, ...], Movement] = {}
    for it in effects:
        if it.service not in WITH_BARRIER:
            continue
        before = seen.setdefault(it.identity, it)
        if before is not it:
            yield f"done twice under one key: {before} and {it}"
    rows = ledgers.barrier.get(key, [])
    for service in sorted({it.service for it in effects if it.service in WITH_BARRIER}):
        kept = [row for row in rows if row.service == service and row.outcome in ("applied", "undone")]
        if not kept:
            yield f"{service} did something under key {key}, and its barrier knows of no effect under it"
    applied = [row for row in rows if row.kind == "action" and row.outcome == "applied"]
    if len(applied) > 1:
        yield f"the barriers hold {len(applied)} applied effects under key {key}"


def _effect_fault(it: Movement | BarrierRow, order_id: str, node: str, intent: t.AttemptStarted, is_lost: Lost) -> str:
    where = f"{it.service} row {it.row_id} ({it.operation}, key {it.key})"
    if it.order_id and it.order_id != order_id:
        return f"{where} is for order {it.order_id}, and {node} for {order_id}"
    if it.at + CLOCK_SKEW < intent.at and not is_lost(it.at):
        return f"{where} is of {it.at.isoformat()}, before its intent of {intent.at.isoformat()}"
    return ""


def is_outside_sagas(it: Movement) -> bool:
    """Stock that is provisioned, a hold that expires by itself, a tax quote that somebody asked for without a key: no
    saga asked for any of them."""
    is_provision = it.service == STOCK and OUTSIDE in (it.source, it.target)
    is_expiry = it.service == STOCK and not it.key and (it.source, it.target) == (RESERVED, AVAILABLE)
    return is_provision or is_expiry or (it.service == TAX and not it.key)


def stranger_faults(
    ledgers: Ledgers, known_keys: set[str], closed: set[str], order_ids: set[str], excused: set[str], is_lost: Lost
) -> Iterator[Violation]:
    """Effects and barrier rows under keys that no journal knows, by order. Under those that a rollback closed (`closed_keys`) a
    tombstone is right, and an effect is not. Those of an order whose journal cannot be read
    are its journal's affair (`excused`). What an unknown order moved is explained by nothing; a known one's is I1's and I2's, also
    where its key is of the part that a restored journal lacks. In that part a barrier row may name no order (an undo that found
    nothing to undo leaves one): it is not told."""
    strange: dict[str, list[Movement]] = {}
    rows: dict[str, list[str]] = {}
    for key, movements in ledgers.by_key.items():
        for it in movements:
            if key in known_keys or it.order_id in excused or (it.order_id in order_ids and is_lost(it.at)):
                continue
            if not is_outside_sagas(it):
                strange.setdefault(it.order_id, []).append(it)
                rows.setdefault(it.order_id, []).append(str(it))
    for key, kept in ledgers.barrier.items():
        for row in kept:
            is_provision = row.operation.endswith("/v1/stock") or "/v1/stock/" in row.operation
            if key in known_keys or row.order_id in excused or (is_lost(row.at) and row.order_id in {"", *order_ids}):
                continue
            if not is_provision and not (key in closed and row.outcome == TOMBSTONE):
                text = f"{row.service} barrier row {row.row_id} ({row.operation}, key {row.key}, {row.outcome})"
                rows.setdefault(row.order_id, []).append(text)
    for order_id, texts in sorted(rows.items()):
        more = f"; and {len(texts) - 3} more" if len(texts) > 3 else ""
        detail = f"under a key that no journal knows: {'; '.join(texts[:3])}{more}"
        moved = [] if order_id in order_ids else strange.get(order_id, [])
        money = [
            (unit, abs(left))
            for (unit, place), left in sums_of(moved, PAYMENT).items()
            if left and place in (HOLDS, MERCHANT)
        ]
        items = sum(abs(left) for (_, place), left in sums_of(moved, STOCK).items() if place in (RESERVED, SHIPPED))
        yield Violation(Invariant.ONCE, order_id, "", detail, money[0] if money else ("", 0), items)
        for rest in money[1:]:
            yield Violation(Invariant.ONCE, order_id, "", "the same, in another currency", rest)
