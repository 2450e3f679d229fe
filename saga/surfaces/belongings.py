"""What belongs to a saga and stands outside its own journal: its other runs, the returns of its order, the customer's mail.

Rules of this file: reads only, each bounded. What of a payload is a fact for people (the Message-ID of a mail, the tracking
number of a parcel, the order that a return is about) is read for the product's own definitions alone; a payload of somebody
else's saga may hold anything.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from pydantic import BaseModel, Field, JsonValue

from saga.core.fold import SagaState
from saga.core.outcomes import Payload
from saga.core.states import SagaStatus
from saga.fulfilment import mailbox
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.fulfilment.view import OrderView, order_view
from saga.store.port import SagaFilter, SagaRow, Store
from saga.surfaces.lookup import is_storable
from saga.surfaces.taking_back import SHOWN_MAX, return_rows

TOLD_BY = {fulfil_order.name: "confirm_order:a", return_order.name: "confirm_return:a"}
"""The node that tells the customer, in the product's definitions."""


class Told(BaseModel):
    """The mail that the customer was sent."""

    at: datetime
    message_id: str
    subject: str | None = Field(description="null when the mail is not in the mailbox folder of these settings")


class Kin(BaseModel):
    """Another saga that is about the same thing."""

    relation: str = Field(description="run, return or order")
    saga_id: str
    entity: str
    run: int
    status: SagaStatus


def result_of(state: SagaState, node: str) -> Mapping[str, JsonValue]:
    """What a step of the product's own definitions returned; nothing of any other."""
    result = state.node(node).result
    if result is None or state.definition not in TOLD_BY:
        return {}
    return _object(result)


def _object(payload: Payload) -> Mapping[str, JsonValue]:
    try:
        value = json.loads(payload.data)
    except (ValueError, RecursionError):  # nobody can read it; the audit tells
        return {}
    return value if isinstance(value, dict) else {}


def view_of(state: SagaState) -> OrderView | None:
    """What a customer sees of an order; None for a saga that fulfils none."""
    return order_view(state) if state.definition == fulfil_order.name else None


def told(state: SagaState, mail_folder: Path) -> Told | None:
    """The mail that confirmed an order or a return; None when none was sent, or nobody knows of one."""
    node = TOLD_BY.get(state.definition, "")
    message_id = result_of(state, node).get("message_id")
    at = state.node(node).ended_at
    if not isinstance(message_id, str) or at is None:
        return None
    return Told(at=at, message_id=message_id, subject=_subject(mail_folder, state.node(node).wire_key, message_id))


def _subject(folder: Path, key: str, message_id: str) -> str | None:
    """Of the mail in the folder that has this key as its name and this Message-ID."""
    if not mailbox.KEY.fullmatch(key):
        return None
    try:
        message = message_from_bytes((folder / f"{key}.eml").read_bytes(), policy=default)
    except OSError:
        return None
    return str(message["Subject"]) if message["Message-ID"] == message_id and message["Subject"] else None


def kin(store: Store, row: SagaRow, state: SagaState) -> tuple[list[Kin], int]:
    """The other runs of the entity; the latest numbered returns of an order; the order of a return. And how many returns there
    were before those."""
    ours = SagaFilter(environment=row.environment, tenant=row.tenant)
    runs = store.find(replace(ours, definition=row.definition, entity=row.entity), SHOWN_MAX)
    found = [("run", one) for one in runs if one.saga_id != row.saga_id]
    returns = return_rows(store, row.environment, row.tenant, row.entity) if row.definition == fulfil_order.name else []
    found += [("return", one) for one in returns[-SHOWN_MAX:]]
    if row.definition == return_order.name:
        order_id = str(_object(state.input).get("order_id", ""))
        is_known = is_storable(order_id)
        orders = store.find(replace(ours, definition=fulfil_order.name, entity=order_id), 1) if is_known else []
        found += [("order", one) for one in orders]
    kindred = [
        Kin(relation=relation, saga_id=one.saga_id, entity=one.entity, run=one.run, status=one.status)
        for relation, one in found
    ]
    return kindred, max(0, len(returns) - SHOWN_MAX)
