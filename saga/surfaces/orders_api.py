"""What stands behind `/v1/orders`: orders are taken, listed, shown, followed and cancelled.

Taking an order
---------------
1. Content type 415, Idempotency-Key 400 and size 413 are judged before the body is parsed. Text that is not JSON is 400;
   JSON that breaks a rule of the order is 422, and `errors` names each field and rule. Whatever is refused has stored
   nothing.
2. The starter accepts the order in one transaction: idempotency row, saga, journal entry 1. When it returns, the order
   is durable and the answer is 202 with `Location` and `Retry-After`, or, with `Prefer: wait=N`, 200 with the order once it
   has ended within N seconds.
3. Hints are handed to `publish`, which returns at once and never raises (`saga.runtime.celery.publisher`). A broker that
   is down costs two seconds, by which time the saga is due by itself, and never an order.

A repeat under the same key gets the same 202 with `Idempotency-Replayed: true`, also while the first one is being
written or its saga still runs: what was accepted is the answer, not how it ended. Another order under the key is 422.
A second order with the same id under another key is 409 while a saga of it lives or has completed; after a rollback it
is accepted and is the next run. The key is taken to the letter: quotes, if sent, are part of it. Two texts of the same
order (other white space, other order of fields) are the same request.

After a 503 nobody knows whether the order was stored; the same request with the same key finds out. Only `backlog` says that
it was not; an order whose id has a saga is let through, so that a repeat gets its kept answer.

What waits or streams is a coroutine, and does all its work with the store in the pool of threads: to wait holds none.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from saga.core.definition import Saga
from saga.core.fold import SagaState
from saga.core.states import ENDED, HaltReason, SagaStatus
from saga.errors import CodecError, DataRefused, SagaNotFound
from saga.fulfilment.fields import Id
from saga.fulfilment.models import Order
from saga.fulfilment.orders_table import ORDERS
from saga.fulfilment.view import OrderView
from saga.runtime.engine import Definitions, fold
from saga.runtime.starting import Started, Starter, first_hints
from saga.runtime.work import Hint
from saga.store.journal import JournalEntry
from saga.store.port import RowFilter, SagaFilter, SagaRow, Store
from saga.surfaces import reading_orders
from saga.surfaces.backlog import Backlog
from saga.surfaces.cancelling import (
    Cancelled,
    CancelRequest,
    CancelStanding,
    SagaChanged,
    cancel,
    held_words,
)
from saga.surfaces.changes import Change, Narration
from saga.surfaces.conditions import entity_tag, names_tag, wanted_wait_s
from saga.surfaces.following import Follower
from saga.surfaces.paging import Cursor, Limit, next_link, position
from saga.surfaces.partly import UNREADABLE, Partly, UnreadableReading, read_partly
from saga.surfaces.problems import Refusal
from saga.surfaces.reading_returns import ReturnReading, read_return, statuses_of
from saga.surfaces.receiving import optional_key, parsed, read_body, refuse_other_query, request_key, while_there
from saga.surfaces.streaming import ChangeStream, last_event_id
from saga.surfaces.taking_back import latest_returns

TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
POLL_AFTER_S, BACKLOG_AFTER_S, STREAM_AFTER_S = 1, 5, 10
RUNS_SEEN = 100
"""Of an order that was rolled back and accepted again, so many runs are looked through for the latest."""

OrderId = Annotated[Id, Path()]
CustomerId = Annotated[str, Query(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Body = Annotated[bytes, Depends(read_body)]


class AcceptedOrder(BaseModel):
    """The answer that is kept: the order is durable and will end."""

    order_id: str
    saga_id: str
    run: int
    links: reading_orders.OrderLinks


class OrderRow(BaseModel):
    """One order in the list, of several runs the latest. It is as current as the last decision."""

    order_id: str
    status: OrderView
    saga_id: str
    saga_status: SagaStatus
    halt_reason: HaltReason | None
    run: int
    customer_id: str
    country: str
    currency: str
    goods: int = Field(description="minor units: the lines alone")
    total: int | None = Field(description="minor units, with tax and freight; null until it is priced")
    accepted_at: datetime
    ended_at: datetime | None
    links: reading_orders.OrderLinks


class OrderPage(BaseModel):
    """One page, the latest accepted first; the header `Link` names the next."""

    items: list[OrderRow]


class CancelledOrder(reading_orders.OrderReading):
    """The order, and what became of the cancel: it is being rolled back, nothing follows yet, or everything is undone."""

    cancel: Literal[CancelStanding.ACCEPTED, CancelStanding.PENDING, CancelStanding.DONE]


@dataclass(frozen=True)
class Orders:
    """The operations. Every look at the store is within the environment and the tenant of `starter`."""

    store: Store
    starter: Starter
    publish: Callable[[Sequence[Hint]], None]
    definition: Saga[Any]
    definitions: Definitions
    follower: Follower
    backlog: Backlog

    async def accept(self, request: Request, response: Response, body: Body) -> AcceptedOrder | Response:
        """Accept one order. Repeat it with the same Idempotency-Key as often as you like: there is one order."""
        order, started = await run_in_threadpool(self._start, request, body)
        links = reading_orders.order_links(order.order_id, started.saga_id)
        headers = {"Location": links.order}
        if started.is_replayed:
            headers["Idempotency-Replayed"] = "true"
        if await self._waited(request, order.order_id, started.saga_id, headers):
            state, seq = await run_in_threadpool(self._state, started.saga_id)
            if state.status in ENDED:
                returns, returns_before = await run_in_threadpool(self._returns, state)
                shown = reading_orders.read_order(state, returns, returns_before).model_dump(mode="json")
                return JSONResponse(shown, 200, {**headers, "ETag": _tag(state, seq, returns)})
        response.headers.update({**headers, "Retry-After": str(POLL_AFTER_S)})
        return AcceptedOrder(order_id=order.order_id, saga_id=started.saga_id, run=started.run, links=links)

    def page(
        self,
        request: Request,
        response: Response,
        status: Annotated[list[OrderView] | None, Query(description="may be repeated")] = None,
        customer_id: CustomerId | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> OrderPage:
        """Orders, the latest accepted first."""
        refuse_other_query(request, "customer_id", "cursor", "limit", repeatable="status")
        equal = {"environment": self.starter.environment, "tenant": self.starter.tenant}
        if customer_id is not None:
            equal["customer_id"] = customer_id
        wanted = RowFilter(
            order=("accepted_at", "order_id"),
            equal=equal,
            one_of={"status": tuple(dict.fromkeys(view.value for view in status or ()))},
            before=position("/v1/orders", cursor),
        )
        rows = self.store.rows(ORDERS, wanted, limit + 1)
        items = [
            OrderRow.model_validate(
                {**row, "links": reading_orders.order_links(str(row["order_id"]), str(row["saga_id"]))}
            )
            for row in rows[:limit]
        ]
        if len(rows) > limit:
            asked = {"status": [view.value for view in status or ()], "customer_id": customer_id, "limit": limit}
            last = items[-1]
            response.headers["Link"] = next_link("/v1/orders", asked, last.accepted_at, last.order_id)
        return OrderPage(items=items)

    async def show(
        self, request: Request, response: Response, order_id: OrderId
    ) -> reading_orders.OrderReading | Response:
        """How far an order is; of several runs the latest."""
        seen = await run_in_threadpool(self._seen, order_id)
        headers: dict[str, str] = {}
        is_moving = _is_moving(seen.state) and seen.unreadable is None
        if await self._waited(request, order_id, seen.state.saga_id, headers, is_moving=is_moving):
            seen = await run_in_threadpool(self._seen, order_id)
        returns, returns_before, unreadable = await run_in_threadpool(self._readable_returns, seen)
        headers["ETag"] = _tag(seen.state, seen.seq, returns)
        if names_tag(request.headers.getlist("if-none-match"), headers["ETag"], weakly=True):
            return Response(status_code=304, headers=headers)
        response.headers.update(headers)
        return reading_orders.read_order(seen.state, returns, returns_before, unreadable)

    def cancel(self, request: Request, response: Response, order_id: OrderId, body: Body) -> CancelledOrder:
        """Cancel an order: it is rolled back, unless its point of no return has succeeded. A second cancel is the same."""
        optional_key(request)
        asked = parsed(body, CancelRequest)
        state, seq = self._latest(order_id)
        only_at = self._condition(request, state, seq)
        try:
            found = cancel(
                self.store, self.definitions, state.saga_id, asked, surface="api", only_at=only_at
            )  # of a run that was rolled back meanwhile and started again: the one that was seen
        except SagaChanged as error:
            raise changed() from error
        self.publish(found.hints)
        return _answered(found, response)

    async def events(self, request: Request, order_id: OrderId) -> Response:
        """Follow an order: one event for each entry of the journal that moves it, until it has ended."""
        last = last_event_id(request)
        narration, changes, seq = await run_in_threadpool(self._narrated, order_id)
        state = narration.shown
        if last is not None and last.run == state.run and last.seq <= seq:  # any other id begins anew
            changes = [one for one in changes if one.seq > last.seq]
        if not changes and narration.is_ended:
            return Response(status_code=204)
        stream = self.follower.stream(state.saga_id, seq)
        if stream is None:
            detail = f"at most {self.follower.bounds.streams} at once; ask for the order instead, or come back"
            raise Refusal("too_many_streams", detail, retry_after_s=STREAM_AFTER_S)
        return ChangeStream(self.follower, stream, narration, changes)

    def _start(self, request: Request, body: bytes) -> tuple[Order, Started]:
        key, order = request_key(request), parsed(body, Order)
        if not self.backlog.enter():
            if not self._runs(order.order_id):
                detail = "nothing was stored; send the same request again later"
                raise Refusal("backlog", detail, retry_after_s=BACKLOG_AFTER_S)
            self.backlog.enter(is_forced=True)
        started = None
        try:
            started = self._started(request, order, key)
        finally:
            self.backlog.settle(is_new=started is not None and not started.is_replayed)
        if not started.is_replayed:
            self.publish(first_hints(self.definition, started.saga_id))
        return order, started

    def _started(self, request: Request, order: Order, key: str) -> Started:
        trace = request.headers.get("traceparent", "")
        traceparent = trace if TRACEPARENT.fullmatch(trace) else None
        try:
            return self.starter.start(self.definition, order, request_key=key, traceparent=traceparent)
        except (CodecError, DataRefused) as error:
            raise Refusal("invalid", "the database cannot hold this order; nothing was stored") from error

    async def _waited(
        self, request: Request, order_id: str, saga_id: str, headers: dict[str, str], *, is_moving: bool = True
    ) -> bool:
        """Do what the header Prefer asks for, and say so in `headers`; whether the order moved no more in the end."""
        wait_s = wanted_wait_s(request.headers.getlist("prefer"), self.follower.bounds.wait_s)
        if wait_s is None:
            return False
        is_at_rest: bool | None = False
        if wait_s and is_moving:
            is_at_rest = await while_there(request, self.follower.at_rest(order_id, saga_id, wait_s))
        if is_at_rest is not None:
            headers["Preference-Applied"] = f"wait={wait_s}"
        return bool(is_at_rest)

    def _condition(self, request: Request, state: SagaState, seq: int) -> int | None:
        """The journal entry that `If-Match` names; None without the header, and for `*`."""
        given = request.headers.getlist("if-match")
        if not given or [value.strip() for value in given] == ["*"]:
            return None
        if not names_tag(given, _tag(state, seq, self._returns(state)[0]), weakly=False):
            raise changed()
        return seq

    def _runs(self, order_id: str) -> list[SagaRow]:
        """The sagas of an order, the latest run first."""
        scope = self.starter.environment, self.starter.tenant
        wanted = SagaFilter(self.definition.name, entity=order_id, environment=scope[0], tenant=scope[1])
        return sorted(self.store.find(wanted, RUNS_SEEN), key=lambda row: row.run, reverse=True)

    def _latest_entries(self, order_id: str) -> tuple[SagaRow, list[JournalEntry]]:
        runs = self._runs(order_id)
        if not runs:
            raise SagaNotFound(order_id)
        return runs[0], journal_of(self.store, runs[0].saga_id)

    def _seen(self, order_id: str) -> Partly:
        return read_partly(*self._latest_entries(order_id))

    def _readable_returns(self, seen: Partly) -> tuple[list[ReturnReading], int, UnreadableReading | None]:
        try:
            return (*self._returns(seen.state), seen.unreadable)
        except UNREADABLE as error:
            why = f"one of its returns: {error}"
            return [], 0, UnreadableReading(saga_id=seen.state.saga_id, seq=seen.seq, why=why)

    def _returns(self, state: SagaState) -> tuple[list[ReturnReading], int]:
        """What comes back of the order, the latest, and how many returns were before; only of a completed one anything can."""
        if state.status is not SagaStatus.COMPLETED:
            return [], 0
        scope = self.starter.environment, self.starter.tenant
        latest, before = latest_returns(self.store, *scope, state.entity)
        return [read_return(one.wanted, one.state) for one in latest], before

    def _narrated(self, order_id: str) -> tuple[Narration, list[Change], int]:
        row, entries = self._latest_entries(order_id)
        narration = Narration(row)
        return narration, list(narration.take(entries)), entries[-1].seq

    def _latest(self, order_id: str) -> tuple[SagaState, int]:
        state, seq, _ = fold(self._latest_entries(order_id)[1])
        return state, seq

    def _state(self, saga_id: str) -> tuple[SagaState, int]:
        state, seq, _ = fold(journal_of(self.store, saga_id))
        return state, seq


def journal_of(store: Store, saga_id: str) -> list[JournalEntry]:
    """A whole journal. Raises `SagaNotFound`."""
    entries = store.load([saga_id]).get(saga_id)
    if not entries:
        raise SagaNotFound(saga_id)
    return entries


def _is_moving(state: SagaState) -> bool:
    """Whether anything but a person moves it on."""
    return state.status not in ENDED and (state.halt is None or state.halt.heals_itself)


def _tag(state: SagaState, seq: int, returns: Sequence[ReturnReading]) -> str:
    """The ETag of the order as it is shown: of its journal, and of its returns once it has any."""
    return entity_tag(state.saga_id, seq, statuses_of(returns))


def changed() -> Refusal:
    """What `If-Match` names is no longer so."""
    return Refusal("changed", "nothing was written; look at it again and decide anew")


def _answered(found: Cancelled, response: Response) -> CancelledOrder:
    order = reading_orders.read_order(found.state)
    if found.standing is CancelStanding.HELD:
        detail = f"{order.order_id} {held_words(found.state)}"
        raise Refusal("waits_for_person", detail, saga_id=order.saga_id, links={"saga": order.links.saga})
    if found.standing is CancelStanding.REFUSED:
        detail = (
            f"{order.order_id} is {order.status}: its payment was taken, so it goes forward only; "
            "once it has completed its pieces can be returned"
        )
        raise Refusal("past_no_return", detail, saga_id=order.saga_id, links={"returns": order.links.returns})
    response.status_code = 200 if found.standing is CancelStanding.DONE else 202
    response.headers["ETag"] = entity_tag(order.saga_id, found.seq)
    if found.standing is not CancelStanding.DONE:
        response.headers["Location"] = order.links.order
        response.headers["Retry-After"] = str(POLL_AFTER_S)
    return CancelledOrder.model_validate({**dict(order), "cancel": found.standing})
