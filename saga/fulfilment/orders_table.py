"""The table `orders`: what a list of orders shows, kept by the engine in the transaction of each decision of `fulfil_order`.

One row for each order, of its latest run. Nothing here is more than the journal says, and nothing of a customer but the id
that the shop gave him.
"""

import json
from collections.abc import Hashable, Mapping

from saga.core.fold import SagaState
from saga.core.projection import Projection, Value
from saga.core.states import NodePhase
from saga.fulfilment.view import order_view

PRICED = "price_order:a"


def _face(state: SagaState) -> Hashable:
    halt = state.halt.reason if state.halt else None
    return order_view(state), state.status, halt, state.node(PRICED).phase is NodePhase.DONE


def _row_of(state: SagaState) -> Mapping[str, Value]:
    order = json.loads(state.input.data)
    price = state.node(PRICED).result
    return {
        "environment": state.environment,
        "tenant": state.tenant,
        "order_id": state.entity,
        "saga_id": state.saga_id,
        "run": state.run,
        "status": order_view(state).value,
        "saga_status": state.status.value,
        "halt_reason": state.halt.reason.value if state.halt else None,
        "customer_id": order["customer_id"],
        "country": order["country"],
        "currency": order["currency"],
        "goods": sum(line["quantity"] * line["unit_price"] for line in order["lines"]),
        "total": json.loads(price.data)["total"] if price else None,
        "accepted_at": state.accepted_at,
        "ended_at": state.ended_at,
    }


ORDERS = Projection(
    table="orders",
    schema="saga",
    key=("environment", "tenant", "order_id"),
    columns={
        "environment": "text",
        "tenant": "text",
        "order_id": "text",
        "saga_id": "text",
        "run": "bigint",
        "status": "text",
        "saga_status": "text",
        "halt_reason": "text",
        "customer_id": "text",
        "country": "text",
        "currency": "text",
        "goods": "bigint",
        "total": "bigint",
        "accepted_at": "timestamptz",
        "ended_at": "timestamptz",
    },
    face=_face,
    row_of=_row_of,
)
