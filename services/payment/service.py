"""What the payment service can be asked: screen, authorise, void, capture, refund."""

from services.payment.fraud import screen
from services.payment.models import (
    Authorization,
    AuthorizeRequest,
    Capture,
    CaptureRequest,
    FraudRequest,
    FraudScreen,
    Refund,
    RefundRequest,
)
from services.payment.money import authorize, capture, capture_state, refund, void
from services.payment.tables import LEDGER_COLUMNS, METADATA, VOIDED
from services.skeleton.service import Operation, Route, Service

MONEY = {"amount": 8_240, "currency": "GBP"}
AUTHORIZATION_ID, CAPTURE_ID = "A-k5xq2m7daa3s6tcl4wpnb9ryvhgeufjo", "C-c3dn7wq2xk5matf6sblp4gryovhuejaz"
REFUND_ID = "F-p7ye4sdm2xk5qntc6alwb3grjvhuofiz"


def _effect(amount: int) -> dict[str, str | int | None]:
    return {"kind": "money", "unit": "GBP", "quantity": amount, "sign": 1, "expires_at": None}


SERVICE = Service(
    name="payment",
    metadata=METADATA,
    ledger_columns=LEDGER_COLUMNS,
    operations=(
        Operation(
            "/v1/fraud-screens",
            FraudRequest,
            FraudScreen,
            screen,
            is_readonly=True,
            rejections={"fraud_suspected": 402},
            example={
                "order_id": "SO-1001",
                **MONEY,
                "country": "Germany",
                "payment_country": "France",
                "customer_id": "C-1",
                "email": "buyer@shop.example",
                "skus": ["LAMP", "MUG"],
            },
            answer_example={
                "score": 40.0,
                "passed": True,
                "threshold": 100,
                "reasons": [
                    {
                        "rule": "country_mismatch",
                        "weight": 40,
                        "detail": "the way of paying is from another country than the parcel goes to",
                    }
                ],
            },
        ),
        Operation(
            "/v1/authorizations",
            AuthorizeRequest,
            Authorization,
            authorize,
            undo=void,
            status=201,
            rejections={"declined": 402, "fraud_suspected": 402},
            example={"order_id": "SO-1001", **MONEY, "payment_method": "pm_card", "customer_id": "C-1"},
            answer_example={"authorization_id": AUTHORIZATION_ID, **MONEY, "effects": [_effect(8_240)]},
        ),
        Operation(
            "/v1/captures",
            CaptureRequest,
            Capture,
            capture,
            status=201,
            rejections={"declined": 402, VOIDED: 409},
            example={"authorization_id": AUTHORIZATION_ID, **MONEY},
            answer_example={
                "capture_id": CAPTURE_ID,
                "authorization_id": AUTHORIZATION_ID,
                **MONEY,
                "effects": [],
            },
        ),
        Operation(
            "/v1/refunds",
            RefundRequest,
            Refund,
            refund,
            status=201,
            rejections={"refund_exceeds_capture": 409, "currency_mismatch": 409},
            example={
                "order_id": "SO-1001",
                "capture_id": CAPTURE_ID,
                "amount": 2_060,
                "currency": "GBP",
                "reason": "one of four came back",
            },
            answer_example={
                "refund_id": REFUND_ID,
                "capture_id": CAPTURE_ID,
                "amount": 2_060,
                "currency": "GBP",
                "effects": [_effect(2_060)],
            },
        ),
    ),
    routes=(
        Route(
            "GET",
            "/v1/captures/{capture_id}",
            capture_state,
            answer_example={
                "capture_id": CAPTURE_ID,
                "authorization_id": AUTHORIZATION_ID,
                "order_id": "SO-1001",
                "currency": "GBP",
                "captured": 8_240,
                "refunded": 2_060,
                "refunds": [
                    {
                        "refund_id": REFUND_ID,
                        "amount": 2_060,
                        "reason": "one of four came back",
                        "at": "2026-11-21T09:30:00Z",
                    }
                ],
            },
        ),
    ),
)
