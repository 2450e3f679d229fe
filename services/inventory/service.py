"""What the inventory service can be asked."""

from services.inventory.models import (
    CommitAnswer,
    FirmAnswer,
    ProvisionRequest,
    QuantityRequest,
    ReservationAnswer,
    ReservationRequest,
    ReserveRequest,
    StockAnswer,
)
from services.inventory.reservations import commit, firm, release, reserve, unfirm
from services.inventory.stock import provision, provision_one, stock_item, stock_list
from services.inventory.tables import LEDGER_COLUMNS, METADATA
from services.skeleton.service import Operation, Route, Service

SERVICE = Service(
    name="inventory",
    metadata=METADATA,
    ledger_columns=LEDGER_COLUMNS,
    operations=(
        Operation("/v1/stock", ProvisionRequest, StockAnswer, provision),
        Operation(
            "/v1/reservations",
            ReserveRequest,
            ReservationAnswer,
            reserve,
            undo=release,
            status=201,
            rejections={"out_of_stock": 409},
        ),
        Operation(
            "/v1/reservations/firm",
            ReservationRequest,
            FirmAnswer,
            firm,
            undo=unfirm,
            rejections={"reservation_expired": 409},
        ),
        Operation(
            "/v1/reservations/commit", ReservationRequest, CommitAnswer, commit, rejections={"not_reserved": 409}
        ),
    ),
    routes=(
        Route("GET", "/v1/stock", stock_list),
        Route("GET", "/v1/stock/{sku}", stock_item),
        Route("PUT", "/v1/stock/{sku}", provision_one, QuantityRequest),
    ),
)
