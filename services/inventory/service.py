"""What the inventory service can be asked."""

from typing import Any

from services.inventory.models import (
    CommitAnswer,
    FirmAnswer,
    ProvisionRequest,
    QuantityRequest,
    ReservationAnswer,
    ReservationRequest,
    ReserveRequest,
    RestockAnswer,
    RestockRequest,
    StockAnswer,
    StockQuery,
)
from services.inventory.reservations import commit, firm, release, reserve, unfirm
from services.inventory.restocks import restock, undo_restock
from services.inventory.stock import provision, provision_one, stock_item, stock_list
from services.inventory.tables import LEDGER_COLUMNS, METADATA
from services.skeleton.service import Operation, Route, Service

_NAMED: dict[str, Any] = {"reservation_id": "R-k7"}
_SHELF: dict[str, Any] = {"initial": 100, "available": 98, "reserved": 2, "shipped": 0}
_ITEM: dict[str, Any] = {"sku": "85123A", **_SHELF, "warehouses": [{"warehouse": "main", **_SHELF}]}
_PLACED: dict[str, Any] = {"sku": "85123A", "quantity": 2, "warehouse": "main"}
_EFFECT: dict[str, Any] = {"kind": "stock", "unit": "85123A", "quantity": 2, "sign": 1, "expires_at": None}
_UNTIL = "2026-03-01T12:15:00+00:00"

SERVICE = Service(
    name="inventory",
    metadata=METADATA,
    ledger_columns=LEDGER_COLUMNS,
    operations=(
        Operation(
            "/v1/stock",
            ProvisionRequest,
            StockAnswer,
            provision,
            example={"items": [{"sku": "85123A", "quantity": 100, "warehouse": "main"}]},
            answer_example={"items": [_ITEM], "effects": []},
        ),
        Operation(
            "/v1/reservations",
            ReserveRequest,
            ReservationAnswer,
            reserve,
            undo=release,
            status=201,
            rejections={"out_of_stock": 409},
            example={"order_id": "SO-1", "lines": [{"sku": "85123A", "quantity": 2}], "ttl_s": 900},
            answer_example={
                **_NAMED,
                "order_id": "SO-1",
                "lines": [_PLACED],
                "expires_at": _UNTIL,
                "effects": [{**_EFFECT, "expires_at": _UNTIL}],
            },
        ),
        Operation(
            "/v1/reservations/firm",
            ReservationRequest,
            FirmAnswer,
            firm,
            undo=unfirm,
            rejections={"reservation_expired": 409},
            example=_NAMED,
            answer_example={**_NAMED, "firm": True, "effects": []},
        ),
        Operation(
            "/v1/reservations/commit",
            ReservationRequest,
            CommitAnswer,
            commit,
            rejections={"not_reserved": 409},
            example=_NAMED,
            answer_example={**_NAMED, "committed": True, "effects": []},
        ),
        Operation(
            "/v1/restocks",
            RestockRequest,
            RestockAnswer,
            restock,
            undo=undo_restock,
            status=201,
            rejections={"not_shipped": 409},
            example={"order_id": "SO-1", "return_id": "RT-1", "lines": [{"sku": "85123A", "quantity": 2}]},
            answer_example={
                "restock_id": "T-k9",
                "order_id": "SO-1",
                "return_id": "RT-1",
                "lines": [_PLACED],
                "effects": [_EFFECT],
            },
        ),
    ),
    routes=(
        Route("GET", "/v1/stock", stock_list, query=StockQuery, answer_example={"items": [_ITEM], "next_after": None}),
        Route("GET", "/v1/stock/{sku}", stock_item, answer_example=_ITEM),
        Route("PUT", "/v1/stock/{sku}", provision_one, QuantityRequest, answer_example=_ITEM),
    ),
)
