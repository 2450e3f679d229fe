"""The shelf: pieces of a SKU go from one bucket to another, all lines of a request or none.

Rules of this file
------------------
- **Lock order.** Whoever changes more than one row takes the rows of `stock` first, in the order of their SKUs, then
  those of `reservation`. PostgreSQL locks them in `lock`; SQLite has one writer (`BEGIN IMMEDIATE`).
- **Two guards.** The statement that moves says `WHERE <bucket> >= quantity`, and a check of the table forbids less than
  nothing. Neither relies on what was read before.
- Every movement is a row of the ledger, in the same transaction. One statement per request moves all lines: an order
  has up to some hundred.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from pydantic import ValidationError
from sqlalchemy import BigInteger, Connection, Table, Update, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from saga.barrier import BusinessRejection
from services.inventory.models import (
    Line,
    ProvisionedItem,
    ProvisionRequest,
    QuantityRequest,
    StockAnswer,
    StockItem,
)
from services.inventory.tables import PROVISION, STOCK, Bucket
from services.skeleton.service import Context

INSERTS: dict[str, Callable[[Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
"""`ON CONFLICT` is no part of SQLAlchemy's general insert; both dialects spell it the same."""

LOCKED = (
    select(STOCK.c.sku, STOCK.c.available)
    .where(STOCK.c.sku.in_(bindparam("skus", expanding=True)))
    .order_by(STOCK.c.sku)
    .with_for_update()
)


@cache
def _moving(source: Bucket, target: Bucket) -> Update:
    """Built once per pair of buckets, because building costs more than running it on SQLite."""
    taken, given = STOCK.c[source], STOCK.c[target]
    quantity = bindparam("moved", type_=BigInteger)
    return (
        update(STOCK)
        .where(STOCK.c.sku == bindparam("of_sku"), taken >= quantity)
        .values({taken: taken - quantity, given: given + quantity})
    )


def totals(lines: Iterable[Line | ProvisionedItem]) -> dict[str, int]:
    """The quantity of each SKU over all its lines, sorted by SKU."""
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.sku] = sums.get(line.sku, 0) + line.quantity
    return dict(sorted(sums.items()))


def lock(connection: Connection, skus: Iterable[str]) -> dict[str, int]:
    """Take the rows of these SKUs until the transaction ends; what is available of each. Unknown ones are left out."""
    return {row.sku: row.available for row in connection.execute(LOCKED, {"skus": list(skus)})}


def move(
    context: Context,
    order_id: str,
    lines: Mapping[str, int],
    source: Bucket,
    target: Bucket,
    *,
    is_expiry: bool = False,
) -> bool:
    """Move every line, and write it down. False: some did not have enough, and the caller must roll back."""
    if not lines:
        return True
    rows = [{"of_sku": sku, "moved": moved} for sku, moved in lines.items()]
    if context.connection.execute(_moving(source, target), rows).rowcount != len(rows):
        return False
    # Nobody asked for an expiry: it stands under no key, whoever's request came upon it.
    by_itself = {"key": "", "operation": "expiry"} if is_expiry else {}
    for sku, moved in lines.items():
        buckets = {"bucket_from": source.value, "bucket_to": target.value}
        context.ledger.add(order_id, sku=sku, quantity=moved, **buckets, **by_itself)
    return True


def _add(context: Context, items: Mapping[str, int]) -> None:
    """Put new pieces on the shelf; a SKU that is not there yet appears."""
    lock(context.connection, items)
    added = INSERTS[context.connection.dialect.name](STOCK)
    statement = added.on_conflict_do_update(
        index_elements=[STOCK.c.sku],
        set_={
            "initial": STOCK.c.initial + added.excluded.initial,
            "available": STOCK.c.available + added.excluded.available,
        },
    )
    rows = [{"sku": sku, "initial": n, "available": n, "reserved": 0, "shipped": 0} for sku, n in items.items()]
    context.connection.execute(statement, rows)
    for sku, quantity in items.items():
        if quantity:
            buckets = {"bucket_from": Bucket.OUTSIDE.value, "bucket_to": Bucket.AVAILABLE.value}
            context.ledger.add("", sku=sku, quantity=quantity, **buckets)


def provision(context: Context, request: ProvisionRequest) -> StockAnswer:
    """`POST /v1/stock`: adds to what is there; once per key, by the barrier."""
    items = totals(request.items)
    _add(context, items)
    return StockAnswer(items=_items(context.connection, items))


def provision_one(context: Context, body: QuantityRequest, *, sku: str) -> StockItem:
    """`PUT /v1/stock/{sku}`: adds to what is there; once per key, by the table `provision`."""
    try:
        item = ProvisionedItem(sku=sku, quantity=body.quantity)
    except ValidationError:
        raise BusinessRejection(
            422, "invalid", "the SKU is 1 to 64 letters, digits, dots, dashes, underscores"
        ) from None
    if not context.key:
        raise BusinessRejection(400, "missing_key", "the header Idempotency-Key is required: a repeat would add again")
    seen = {"key": context.key, "sku": item.sku, "quantity": item.quantity}
    inserted = INSERTS[context.connection.dialect.name](PROVISION).values(seen).on_conflict_do_nothing()
    if context.connection.execute(inserted.returning(PROVISION.c.key)).scalar_one_or_none() is not None:
        _add(context, {item.sku: item.quantity})
    else:
        kept = context.connection.execute(select(PROVISION).where(PROVISION.c.key == context.key)).one()
        if dict(kept._mapping) != seen:
            raise BusinessRejection(422, "key_reused", "this key added something else")
    return stock_item(context, sku=sku)


def stock_list(context: Context, _body: object = None) -> StockAnswer:
    """`GET /v1/stock`. Shows what is written down: an expired hold is reserved until somebody wants its SKUs."""
    return StockAnswer(items=_items(context.connection))


def stock_item(context: Context, _body: object = None, *, sku: str) -> StockItem:
    """`GET /v1/stock/{sku}`."""
    for item in _items(context.connection, [sku]):
        return item
    raise BusinessRejection(404, "unknown_sku", f"there is no SKU {sku}; POST /v1/stock provisions one")


def _items(connection: Connection, skus: Iterable[str] | None = None) -> list[StockItem]:
    statement = select(STOCK).order_by(STOCK.c.sku)
    if skus is not None:
        statement = statement.where(STOCK.c.sku.in_(list(skus)))
    return [StockItem(**row._mapping) for row in connection.execute(statement)]
