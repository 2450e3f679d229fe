"""Captures with what was refunded of them, refunds, and whose an authorization is.

Captures of before are found in the barrier, which kept each answer, and in the ledger, which knows the order: so what was
captured then can be refunded now.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None

CAPTURED = """
SELECT barrier.body, ledger.order_id, ledger.amount, ledger.currency
FROM barrier JOIN ledger ON ledger.key = barrier.key AND ledger.operation = barrier.operation
WHERE barrier.kind = 'action' AND barrier.operation = 'POST /v1/captures' AND barrier.outcome = 'applied'
"""


def upgrade() -> None:
    capture = op.create_table(
        "capture",
        sa.Column("capture_id", sa.String(260), primary_key=True),
        sa.Column("authorization_id", sa.String(260), nullable=False),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("captured", sa.BigInteger, nullable=False),
        sa.Column("refunded", sa.BigInteger, nullable=False, server_default="0"),
        sa.CheckConstraint("refunded >= 0 AND refunded <= captured", name="capture_not_overdrawn"),
    )
    op.create_table(
        "refund",
        sa.Column("refund_id", sa.String(260), primary_key=True),
        sa.Column("capture_id", sa.String(260), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount > 0", name="refund_positive"),
    )
    op.create_index("ix_refund_capture_id", "refund", ["capture_id"])
    op.add_column("authorization_", sa.Column("customer_id", sa.String(64)))
    op.add_column("authorization_", sa.Column("at", sa.DateTime(timezone=True)))
    op.create_index("authorization_by_customer", "authorization_", ["customer_id", "at"])
    if rows := [_capture(*row) for row in op.get_bind().execute(sa.text(CAPTURED))]:
        op.get_bind().execute(capture.insert(), rows)


def _capture(body: str, order_id: str, amount: int, currency: str) -> dict[str, str | int]:
    kept = json.loads(body)
    names = {"capture_id": kept["capture_id"], "authorization_id": kept["authorization_id"], "order_id": order_id}
    return {**names, "currency": currency, "captured": amount}
