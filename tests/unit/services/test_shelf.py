"""The shelf moves what is there and no more, whatever its caller had read before."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from services.inventory.models import ProvisionedItem, ProvisionRequest
from services.inventory.service import SERVICE
from services.inventory.stock import Place, move, provision, stock_item
from services.inventory.tables import Bucket
from services.skeleton.database import Database
from services.skeleton.service import Context, Ledger
from services.skeleton.tables import declare_tables


@pytest.mark.parametrize("quantity", [2, 3])
def test_a_line_that_is_short_moves_nothing(tmp_path: Path, quantity: int) -> None:
    """Nobody looked first: the statement that moves says by itself that there is not enough, and writes no ledger row."""
    database = Database(f"sqlite:///{tmp_path / 'stock.db'}")
    rows, _ = declare_tables(SERVICE)
    database.create(SERVICE.metadata)

    def work(connection: Connection) -> tuple[bool, int, int]:
        ledger = Ledger(rows, "k", "POST /v1/reservations")
        context = Context(connection, "k", "POST /v1/reservations", lambda: datetime(2026, 3, 1, tzinfo=UTC), ledger)
        provision(context, ProvisionRequest(items=[ProvisionedItem(sku="A", quantity=2)]))
        before = len(ledger.rows)
        is_moved = move(context, "SO-1", {Place("A", "main"): quantity}, Bucket.AVAILABLE, Bucket.RESERVED)
        return is_moved, stock_item(context, sku="A").available, len(ledger.rows) - before

    assert database.write(work) == ((True, 0, 1) if quantity == 2 else (False, 2, 0))
    database.close()
