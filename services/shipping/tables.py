"""The tables of the shipping service: labels out, labels back, and the numbers that were given away.

A label is `bought`, then either `voided` or `dispatched`, and stays so; one for the way back is `bought`, then perhaps
`voided`. Each change is one conditional update and one row of the ledger.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, MetaData, String, Table

METADATA = MetaData()

BOUGHT, VOIDED, DISPATCHED = "bought", "voided", "dispatched"
RETURN_BOUGHT, RETURN_VOIDED = "return_bought", "return_voided"

SHIPMENT = Table(
    "shipment",
    METADATA,
    Column("shipment_id", String(260), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("carrier", String(128), nullable=False),
    Column("country_code", String(2), nullable=False),
    Column("item_count", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("tracking", String(300)),
    CheckConstraint("state IN ('bought', 'voided', 'dispatched')", name="shipment_state"),
)

RETURN_LABEL = Table(
    "return_label",
    METADATA,
    Column("return_label_id", String(260), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("return_id", String(64), nullable=False),
    Column("shipment_id", String(260), nullable=False),
    Column("carrier", String(128), nullable=False),
    Column("tracking", String(300), nullable=False),
    Column("state", String(10), nullable=False),
    CheckConstraint("state IN ('bought', 'voided')", name="return_label_state"),
)

TRACKING = Table(
    "tracking",
    METADATA,
    Column("number", String(300), primary_key=True),
    Column("label_id", String(260), nullable=False),
)
"""A number is given away once, whether its label goes out or comes back."""

LEDGER_COLUMNS = (
    Column("shipment_id", String(260), nullable=False),
    Column("movement", String(16), nullable=False),
)
