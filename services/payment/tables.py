"""The tables of the payment service: holds, captures, refunds, and its ledger of balanced postings."""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, MetaData, String, Table

METADATA = MetaData()
HELD, VOIDED, CAPTURED = "held", "voided", "captured"

AUTHORIZATION = Table(
    "authorization_",
    METADATA,
    Column("authorization_id", String(260), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("payment_method", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    Column("customer_id", String(64)),
    Column("at", DateTime(timezone=True)),
    CheckConstraint("amount >= 0", name="authorization_not_negative"),
    CheckConstraint("state IN ('held', 'voided', 'captured')", name="authorization_state"),
)
Index("authorization_by_customer", AUTHORIZATION.c.customer_id, AUTHORIZATION.c.at)

CAPTURE = Table(
    "capture",
    METADATA,
    Column("capture_id", String(260), primary_key=True),
    Column("authorization_id", String(260), nullable=False),
    Column("order_id", String(64), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("captured", BigInteger, nullable=False),
    Column("refunded", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("refunded >= 0 AND refunded <= captured", name="capture_not_overdrawn"),
)
"""The check stands beside the condition of the update that refunds: neither relies on what was read before."""

REFUND = Table(
    "refund",
    METADATA,
    Column("refund_id", String(260), primary_key=True),
    Column("capture_id", String(260), nullable=False, index=True),
    Column("amount", BigInteger, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("amount > 0", name="refund_positive"),
)

LEDGER_COLUMNS = (
    Column("entry_id", String(260), nullable=False),
    Column("debit", String(80), nullable=False),
    Column("credit", String(80), nullable=False),
    Column("amount", BigInteger, CheckConstraint("amount > 0", name="posting_positive"), nullable=False),
    Column("currency", String(3), nullable=False),
)
