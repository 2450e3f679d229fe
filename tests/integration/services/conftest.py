"""A stand-in service of one table, a counter per name, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from pydantic import BaseModel
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text, select

from saga.barrier import BusinessRejection
from services.skeleton.server import RunningService, serve
from services.skeleton.service import Context, Effect, Operation, Service, Strict


class Count(Strict):
    """Adds to a counter; more than ten at once is refused after the row was changed."""

    order_id: str
    name: str
    amount: int


class Counted(BaseModel):
    name: str
    amount: int
    total: int
    effects: list[Effect]


class Look(Strict):
    name: str


class Seen(BaseModel):
    total: int


def stand_in() -> Service:
    """A service value of its own metadata, so that tests share nothing."""
    metadata = MetaData()
    counters = Table(
        "counters",
        metadata,
        Column("name", Text, primary_key=True),
        Column("total", Integer, CheckConstraint("total >= 0"), nullable=False),
    )

    def total(context: Context, name: str) -> int:
        found = context.connection.execute(select(counters.c.total).where(counters.c.name == name)).scalar()
        return found or 0

    def move(context: Context, name: str, amount: int) -> int:
        by_name = counters.update().where(counters.c.name == name).values(total=counters.c.total + amount)
        if context.connection.execute(by_name).rowcount == 0:
            context.connection.execute(counters.insert().values(name=name, total=amount))
        return total(context, name)

    def count(context: Context, request: Count) -> Counted:
        after = move(context, request.name, request.amount)
        context.ledger.add(request.order_id, amount=request.amount)
        if request.amount > 10:
            raise BusinessRejection(409, "too_many", "ten at most")
        effect = Effect(kind="count", unit=request.name, quantity=request.amount, sign=1)
        return Counted(name=request.name, amount=request.amount, total=after, effects=[effect])

    def uncount(context: Context, answer: dict[str, Any]) -> list[Effect]:
        move(context, answer["name"], -answer["amount"])
        context.ledger.add("undo", amount=-answer["amount"])
        return [Effect(kind="count", unit=answer["name"], quantity=answer["amount"], sign=-1)]

    def look(context: Context, request: Look) -> Seen:
        return Seen(total=total(context, request.name))

    return Service(
        name="counter",
        metadata=metadata,
        ledger_columns=(Column("amount", Integer, nullable=False),),
        operations=(
            Operation("/v1/counts", Count, Counted, count, uncount, status=201, rejections={"too_many": 409}),
            Operation("/v1/looks", Look, Seen, look, is_readonly=True),
        ),
    )


class Caller:
    """Speaks to a running stand-in as any HTTP client would."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.url = service.url

    def count(self, key: str, amount: int = 1, order_id: str = "SO-1", name: str = "a") -> requests.Response:
        body = {"order_id": order_id, "name": name, "amount": amount}
        return self.post("/v1/counts", key, body)

    def undo(self, key: str, undoes: str) -> requests.Response:
        return self.post("/v1/counts/undo", key, {"undoes": undoes})

    def post(self, path: str, key: str | None, body: Any) -> requests.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return requests.post(self.url + path, json=body, headers=headers, timeout=20)

    def total(self, name: str = "a") -> int:
        answer = self.post("/v1/looks", None, {"name": name})
        assert answer.status_code == 200, answer.text
        total = answer.json()["total"]
        assert isinstance(total, int)
        return total

    def rows(self, path: str) -> list[dict[str, Any]]:
        rows = requests.get(f"{self.url}{path}", params={"limit": 5000}, timeout=20).json()["rows"]
        assert isinstance(rows, list)
        return rows

    def page(self, path: str, after: int) -> dict[str, Any]:
        page = requests.get(f"{self.url}{path}", params={"after": after, "limit": 3}, timeout=20).json()
        assert isinstance(page, dict)
        return page

    def set_faults(self, *rules: dict[str, Any], seed: int = 7) -> requests.Response:
        return requests.put(f"{self.url}/v1/faults", json={"seed": seed, "rules": rules}, timeout=20)

    def fired(self) -> int:
        rules = requests.get(f"{self.url}/v1/faults", timeout=20).json()["rules"]
        return sum(int(rule["fired"]) for rule in rules)


@pytest.fixture(params=["sqlite", "postgres"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """The stand-in on an empty database of each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "empty_postgres_url"
    service = serve(stand_in(), request.getfixturevalue(name))
    yield Caller(service)
    service.stop()


@pytest.fixture
def sqlite_caller(sqlite_url: str) -> Iterator[Caller]:
    """The stand-in on SQLite, for what does not depend on the database."""
    service = serve(stand_in(), sqlite_url)
    yield Caller(service)
    service.stop()


@pytest.fixture
def empty_postgres_caller(empty_postgres_url: str) -> Iterator[Caller]:
    """The stand-in on PostgreSQL, for what SQLite does in another way."""
    service = serve(stand_in(), empty_postgres_url)
    yield Caller(service)
    service.stop()
