"""The shelves: pieces of a SKU in a warehouse go from one bucket to another, all lines of a request or none.

Rules of this file
------------------
- **Lock order.** Whoever changes more than one row takes the rows of `stock` first, in the order of their SKUs and
  warehouses, then those of `reservation`. PostgreSQL locks them in `lock`; SQLite has one writer (`BEGIN IMMEDIATE`).
- **Two guards.** The statement that moves says `WHERE <bucket> >= quantity`, and a check of the table forbids less than
  nothing. Neither relies on what was read before.
- Every movement is a row of the ledger, in the same transaction. One statement per request moves all lines: an order
  has up to some thousand.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy import BigInteger, Connection, Table, Update, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from saga.barrier import BusinessRejection
from services.inventory.models import (
    PAGE_SKUS_MAX,
    Line,
    ProvisionedItem,
    ProvisionRequest,
    QuantityRequest,
    StockAnswer,
    StockItem,
    StockPage,
    WarehouseStock,
)
from services.inventory.tables import PROVISION, STOCK, Bucket
from services.skeleton.service import Context

BUCKETS = ("initial", "available", "reserved", "shipped")
INSERTS: dict[str, Callable[[Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
"""`ON CONFLICT` is no part of SQLAlchemy's general insert; both dialects spell it the same."""

LOCKED = (
    select(STOCK.c.sku, STOCK.c.warehouse, STOCK.c.available)
    .where(STOCK.c.sku.in_(bindparam("skus", expanding=True)))
    .order_by(STOCK.c.sku, STOCK.c.warehouse)
    .with_for_update()
)
PAGE = (
    select(STOCK.c.sku)
    .where(STOCK.c.sku > bindparam("after"))
    .group_by(STOCK.c.sku)
    .order_by(STOCK.c.sku)
    .limit(bindparam("count"))
)


class Place(NamedTuple):
    """Where pieces of a SKU lie."""

    sku: str
    warehouse: str


@cache
def _moving(source: Bucket, target: Bucket) -> Update:
    """Built once per pair of buckets, because building costs more than running it on SQLite."""
    taken, given = STOCK.c[source], STOCK.c[target]
    quantity = bindparam("moved", type_=BigInteger)
    return (
        update(STOCK)
        .where(STOCK.c.sku == bindparam("of_sku"), STOCK.c.warehouse == bindparam("of_warehouse"), taken >= quantity)
        .values({taken: taken - quantity, given: given + quantity})
    )


def totals(lines: Iterable[Line]) -> dict[str, int]:
    """The quantity of each SKU over all its lines, sorted by SKU."""
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.sku] = sums.get(line.sku, 0) + line.quantity
    return dict(sorted(sums.items()))


def by_sku(lines: Mapping[Place, int]) -> dict[str, int]:
    """The quantity of each SKU over its warehouses."""
    sums: dict[str, int] = {}
    for place, quantity in lines.items():
        sums[place.sku] = sums.get(place.sku, 0) + quantity
    return sums


def shortage(skus: Sequence[str]) -> str:
    """Which SKUs there is not enough of, the first five by name."""
    return f"not enough of {', '.join(skus[:5])}{f' and {len(skus) - 5} more' if len(skus) > 5 else ''}"


def lock(connection: Connection, skus: Iterable[str]) -> dict[Place, int]:
    """Take the rows of these SKUs until the transaction ends; what is available in each place. Unknown ones are left out."""
    rows = connection.execute(LOCKED, {"skus": list(skus)})
    return {Place(sku, warehouse): available for sku, warehouse, available in rows}


def move(
    context: Context,
    order_id: str,
    lines: Mapping[Place, int],
    source: Bucket,
    target: Bucket,
    *,
    is_expiry: bool = False,
    return_id: str | None = None,
) -> bool:
    """Move every line, and write it down. False: some did not have enough, and the caller must roll back."""
    if not lines:
        return True
    rows = [{"of_sku": sku, "of_warehouse": place, "moved": moved} for (sku, place), moved in lines.items()]
    if context.connection.execute(_moving(source, target), rows).rowcount != len(rows):
        return False
    same: dict[str, str | None] = {
        "bucket_from": source.value,
        "bucket_to": target.value,
        "return_id": return_id,
        # Nobody asked for an expiry: it stands under no key, whoever's request came upon it.
        **({"key": "", "operation": "expiry"} if is_expiry else {}),
    }
    for (sku, warehouse), moved in lines.items():
        context.ledger.add(order_id, sku=sku, warehouse=warehouse, quantity=moved, **same)
    return True


def _add(context: Context, items: Mapping[Place, int]) -> None:
    """Put new pieces on the shelf; a place that is not there yet appears."""
    lock(context.connection, {place.sku for place in items})
    added = INSERTS[context.connection.dialect.name](STOCK)
    statement = added.on_conflict_do_update(
        index_elements=[STOCK.c.sku, STOCK.c.warehouse],
        set_={
            "initial": STOCK.c.initial + added.excluded.initial,
            "available": STOCK.c.available + added.excluded.available,
        },
    )
    rows = [
        {**place._asdict(), "initial": n, "available": n, "reserved": 0, "shipped": 0} for place, n in items.items()
    ]
    context.connection.execute(statement, rows)
    for place, quantity in items.items():
        if quantity:
            buckets = {"bucket_from": Bucket.OUTSIDE.value, "bucket_to": Bucket.AVAILABLE.value}
            context.ledger.add("", quantity=quantity, return_id=None, **place._asdict(), **buckets)


def provision(context: Context, request: ProvisionRequest) -> StockAnswer:
    """`POST /v1/stock`: adds to what is there; once per key, by the barrier."""
    items: dict[Place, int] = {}
    for item in request.items:
        place = Place(item.sku, item.warehouse)
        items[place] = items.get(place, 0) + item.quantity
    _add(context, dict(sorted(items.items())))
    return StockAnswer(items=_items(context.connection, by_sku(items)))


def provision_one(context: Context, body: QuantityRequest, *, sku: str) -> StockItem:
    """`PUT /v1/stock/{sku}`: adds to what is there; once per key, by the table `provision`."""
    try:
        item = ProvisionedItem(sku=sku, quantity=body.quantity, warehouse=body.warehouse)
    except ValidationError:
        raise BusinessRejection(
            422, "invalid", "the SKU is 1 to 64 letters, digits, dots, dashes, underscores"
        ) from None
    if not context.key:
        raise BusinessRejection(400, "missing_key", "the header Idempotency-Key is required: a repeat would add again")
    seen = {"key": context.key, **item.model_dump()}
    inserted = INSERTS[context.connection.dialect.name](PROVISION).values(seen).on_conflict_do_nothing()
    if context.connection.execute(inserted.returning(PROVISION.c.key)).scalar_one_or_none() is not None:
        _add(context, {Place(item.sku, item.warehouse): item.quantity})
    else:
        kept = context.connection.execute(select(PROVISION).where(PROVISION.c.key == context.key)).one()
        if dict(kept._mapping) != seen:
            raise BusinessRejection(422, "key_reused", "this key added something else")
    return stock_item(context, sku=sku)


def stock_list(context: Context, _body: object = None, *, after: str = "", limit: int | None = None) -> StockPage:
    """`GET /v1/stock`. Shows what is written down: an expired hold is reserved until somebody wants its SKUs."""
    if limit is None and not after:
        return StockPage(items=_items(context.connection))
    limit = limit or PAGE_SKUS_MAX
    page = context.connection.execute(PAGE, {"after": after, "count": limit + 1}).scalars().all()
    items = _items(context.connection, page[:limit])
    return StockPage(items=items, next_after=page[limit - 1] if len(page) > limit else None)


def stock_item(context: Context, _body: object = None, *, sku: str) -> StockItem:
    """`GET /v1/stock/{sku}`."""
    for item in _items(context.connection, [sku]):
        return item
    raise BusinessRejection(404, "unknown_sku", f"there is no SKU {sku}; POST /v1/stock provisions one")


def _items(connection: Connection, skus: Iterable[str] | None = None) -> list[StockItem]:
    statement = select(STOCK).order_by(STOCK.c.sku)
    if skus is not None:
        statement = statement.where(STOCK.c.sku.in_(list(skus)))
    found: dict[str, list[WarehouseStock]] = {}
    for row in connection.execute(statement):
        found.setdefault(row.sku, []).append(
            WarehouseStock(**{name: row._mapping[name] for name in WarehouseStock.model_fields})
        )
    return [_summed(sku, sorted(parts, key=lambda part: part.warehouse)) for sku, parts in found.items()]


def _summed(sku: str, parts: list[WarehouseStock]) -> StockItem:
    sums = {name: sum(getattr(part, name) for part in parts) for name in BUCKETS}
    return StockItem(sku=sku, warehouses=parts, **sums)
