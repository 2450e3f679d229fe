"""Hands a file of orders over, once each: what `saga orders submit` does.

Rules of this file
------------------
- The request key of an order is made of its id, so submitting a file again, or going on after a crash, starts nothing
  twice: an order that is there already is answered with its saga. Where the key belongs to another content, the order was corrected:
  it is offered under a key of its content, and the store starts a next run where the one before was rolled back, and no other. What
  somebody cancelled is not offered: an export that says something else of it is no wish to have it after all.
- Stock is provisioned per order, before the order is handed over, under a key made of its id: again at most once.
- Orders go out from a bounded number of threads, so concurrent starts share commits; memory holds as many orders as are
  on their way.
- What is no order is counted with its reason and hinders nobody. A database or API that is away ends the run with
  `StoreUnavailable`; the same command goes on where it stopped. An address where something else than the order API
  answers ends it with `UsageError`: no order is to blame for that.
- What was submitted, was already there, was refused, skipped or not handed over adds up to what the file holds. An order that it
  repeats is handed over once; its repeats share what became of it, so one of an order that is taken is already there.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

import requests

from saga.clock import monotonic
from saga.core.definition import Saga
from saga.core.outcomes import business_code
from saga.core.states import ENDED, SagaStatus
from saga.errors import CodecError, DataRefused, DuplicateOrder, KeyReused, StoreUnavailable, UsageError
from saga.fulfilment.intake import Cancelled, Found, Refused, Repeated, Rounded, Skipped
from saga.fulfilment.models import Order
from saga.fulfilment.view import OrderView, order_view
from saga.runtime.engine import fold
from saga.runtime.starting import Starter, first_hints
from saga.runtime.work import Hint
from saga.segments import order_path
from saga.store.port import SagaFilter, Store
from saga.surfaces.contract import URN
from saga.surfaces.draining import is_over
from saga.surfaces.reading import read_cause
from saga.surfaces.request_keys import corrected_key, request_key
from saga.surfaces.returning import OF_ONE_SAGA, Returning, code_of
from saga.surfaces.tally import Tally
from saga.surfaces.unanswered import why_unanswered

THREADS = 16
RUNS_READ = 100
AHEAD = 64
"""Orders on their way at once."""
CALL_S = 30.0
KEY_REUSED = "key_reused"
TAKEN = (
    "order_id: was submitted before with another content; a corrected order is taken once the one before was rolled back, "
    "unless that was cancelled: a cancelled one is started with  saga start saga.fulfilment.fulfil_order:fulfil_order @FILE"
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The saga that carries an order; `is_known` when it was handed over before."""

    saga_id: str
    is_known: bool


class Intake(Protocol):
    """Whoever takes orders."""

    def submit(self, order: Order) -> Receipt:
        """Durable on return; again with the same order gives the same saga. Raises `KeyReused` or `DuplicateOrder`
        for an id that was taken by another order, `DataRefused`, `StoreUnavailable`, or `UsageError` when this is nobody
        who takes orders."""
        ...


class Shelf(Protocol):
    """Whoever puts stock there (`saga.surfaces.provisioning`)."""

    def provide(self, order: Order) -> None:
        """Put on stock what an order takes, once per order id."""
        ...


@dataclass(frozen=True, slots=True)
class DirectIntake:
    """Straight into the database, by way of the same `Starter` as the API."""

    store: Store
    starter: Starter
    saga: Saga[Any]
    publish: Callable[[list[Hint]], None]

    def submit(self, order: Order) -> Receipt:
        try:
            started = self.starter.start(self.saga, order, request_key=request_key(order.order_id))
        except KeyReused:
            if self._is_cancelled(order.order_id):
                raise
            key = corrected_key(order.order_id, order.model_dump_json())
            started = self.starter.start(self.saga, order, request_key=key)
        if not started.is_replayed:
            self.publish(first_hints(self.saga, started.saga_id))
        return Receipt(started.saga_id, started.is_replayed)

    def _is_cancelled(self, order_id: str) -> bool:
        scope = self.starter.environment, self.starter.tenant
        wanted = SagaFilter(self.saga.name, entity=order_id, environment=scope[0], tenant=scope[1])
        runs = self.store.find(wanted, RUNS_READ)  # a clock that was set back may have the latest run accepted first
        latest = max(runs, key=lambda it: it.run, default=None)
        return (
            latest is not None
            and order_view(fold(self.store.load([latest.saga_id])[latest.saga_id])[0]) is OrderView.CANCELLED
        )

    def status(self, saga_id: str) -> tuple[SagaStatus, bool]:
        row = self.store.row(saga_id)
        assert row is not None, f"{saga_id} was accepted and is not there"
        return row.status, is_over(row)

    def why(self, saga_id: str) -> tuple[SagaStatus, str, str]:
        state = fold(self.store.load([saga_id])[saga_id])[0]
        if state.halt is not None:
            return state.status, state.halt.reason.value, ""
        if (cause := read_cause(state.cause)) is None:
            return state.status, "", ""
        return state.status, _reason(cause.step, cause.cause, cause.detail), cause.reason


class HttpIntake:
    """Over the order API."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = session()

    def submit(self, order: Order) -> Receipt:
        body = order.model_dump_json()
        answer = self.ask("POST", "/v1/orders", body, {"Idempotency-Key": request_key(order.order_id)})
        if code_of(answer) == KEY_REUSED:
            if object_of(self.ask("GET", order_path(order.order_id))).get("status") == OrderView.CANCELLED:
                raise DuplicateOrder(order.order_id, "that was cancelled")
            answer = self.ask("POST", "/v1/orders", body, {"Idempotency-Key": corrected_key(order.order_id, body)})
        return self._receipt(order, answer)

    def _receipt(self, order: Order, answer: requests.Response) -> Receipt:
        body = object_of(answer)
        if answer.status_code in (200, 202) and "saga_id" in body:
            return Receipt(str(body["saga_id"]), answer.headers.get("Idempotency-Replayed") == "true")
        if not self._is_refusal(answer.status_code, body):
            raise UsageError(
                f"{self._url} is no order API: POST /v1/orders answers {answer.status_code} there; "
                "name what stands before /v1/orders, as  saga dev  and  saga api  print it"
            )
        if answer.status_code == 409:
            raise DuplicateOrder(order.order_id, str(body.get("saga_id", "of another request")))
        raise DataRefused(order.order_id, str(body.get("detail") or f"HTTP {answer.status_code}"))

    @staticmethod
    def _is_refusal(status: int, body: dict[str, Any]) -> bool:
        """Whether the order API refuses this order. One that is too large may be refused by what stands before the API."""
        return status == 413 or (status not in (404, 405) and str(body.get("type", "")).startswith(URN))

    def status(self, saga_id: str) -> tuple[SagaStatus, bool]:
        saga = self.saga(saga_id)
        status, halt = SagaStatus(saga["status"]), saga.get("halt")
        return status, status in ENDED or bool(halt and not halt["heals_itself"])

    def why(self, saga_id: str) -> tuple[SagaStatus, str, str]:
        saga = self.saga(saga_id)
        status, halt, cause = SagaStatus(saga["status"]), saga["halt"], saga["cause"]
        if halt:
            return status, str(halt["reason"]), ""
        if not cause:
            return status, "", ""
        return status, _reason(cause["step"], cause["cause"], cause["detail"]), str(cause.get("reason", ""))

    def saga(self, saga_id: str) -> dict[str, Any]:
        """A saga as the API shows it. Raises `CodecError` when the API cannot read it."""
        answer = self.ask("GET", f"/v1/sagas/{saga_id}")
        if code_of(answer) in OF_ONE_SAGA:
            raise CodecError(f"saga {saga_id}: {object_of(answer).get('detail')}")
        if answer.status_code != 200:
            raise StoreUnavailable(f"{self._url}/v1/sagas/{saga_id} answers {answer.status_code}")
        found = object_of(answer)
        if found.get("unreadable"):  # shown as far as it goes, and moved by nobody
            raise CodecError(f"saga {saga_id}: its journal cannot be read to its end: {found['unreadable']}")
        return found

    def ask(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> requests.Response:
        """The answer; one that says to come back later, or none, is `StoreUnavailable`, unless it is about one saga alone."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            answer = self._session.request(method, self._url + path, data=body.encode(), headers=sent, timeout=CALL_S)
        except requests.RequestException as error:
            raise StoreUnavailable(f"no answer from {self._url}: {why_unanswered(error)}") from error
        if answer.status_code in (408, 429) or (answer.status_code >= 500 and code_of(answer) not in OF_ONE_SAGA):
            raise StoreUnavailable(f"{self._url}{path} answers {answer.status_code}; type the same command again")
        return answer


def session() -> requests.Session:
    """A session that takes nothing from the environment."""
    made = requests.Session()
    made.trust_env = False
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=THREADS)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


def _reason(step: str | None, cause: str, detail: str) -> str:
    """Why a saga turned round: the step that was refused and its code, or who wanted it."""
    return f"{step}: {business_code(detail)}" if step else cause


def object_of(answer: requests.Response) -> dict[str, Any]:
    """The JSON object in the body; empty when there is none."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def hand_over(
    found: Iterable[Found],
    intake: Intake,
    *,
    provisioner: Shelf | None = None,
    limit: int | None = None,
    returning: Returning | None = None,
    progress: Callable[[Tally], None] = lambda _tally: None,
    tally: Tally | None = None,
) -> Tally:
    """Submit up to `limit` orders of `found`. Raises `StoreUnavailable` when nobody takes them any more: what has not begun then
    is not handed over. Raises what `found` raises when it cannot be read to its end: what was read before is handed over. Either way
    what has begun is waited for, and each order stands in `tally` once.

    Cancellations go to `returning`; without it they are skipped and counted.
    """
    tally, began = tally if tally is not None else Tally(), monotonic()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="submit") as pool:
        flying: dict[Future[Receipt], Order] = {}
        try:

            def saga_of(order_id: str) -> str | None:
                while any(order.order_id == order_id for order in flying.values()):
                    _land(flying, tally)
                return tally.saga_of.get(order_id)

            try:
                for it in _orders(found, tally, limit, returning):
                    if isinstance(it, Cancelled):
                        assert returning is not None
                        returning.cancelled(it, saga_of)
                        continue
                    flying[pool.submit(_one, it, intake, provisioner)] = it
                    while len(flying) >= AHEAD:
                        _land(flying, tally)
                    progress(tally)
            finally:
                _land_all(flying, tally, progress)
        finally:
            _count_repeats(tally)
            tally.seconds = monotonic() - began
    return tally


def _orders(
    found: Iterable[Found], tally: Tally, limit: int | None, returning: Returning | None
) -> Iterator[Order | Cancelled]:
    rounded: Rounded | None = None
    for it in found:
        match it:
            case Order():
                if limit is not None and tally.orders >= limit:
                    return
                tally.orders += 1
                tally.rounded += rounded is not None
                if returning is not None:
                    returning.sold(it)
                yield it
            case Refused():
                tally.refused.append(it)
            case Repeated():
                tally.repeats.append(it)
            case Skipped():
                tally.skipped[it.kind] += 1
            case Cancelled() if returning is not None:
                yield it
            case Cancelled():
                tally.skipped["cancellation"] += 1
            case Rounded():
                pass
        rounded = it if isinstance(it, Rounded) else None


def _one(order: Order, intake: Intake, provisioner: Shelf | None) -> Receipt:
    if provisioner is not None:
        provisioner.provide(order)
    return intake.submit(order)


def _land_all(flying: dict[Future[Receipt], Order], tally: Tally, progress: Callable[[Tally], None]) -> None:
    """Wait for all, and raise the first failure once none is on its way."""
    failure: BaseException | None = None
    while flying:
        found = _landed(flying, tally)
        failure = failure or found
        progress(tally)
    if failure is not None:
        raise failure


def _land(flying: dict[Future[Receipt], Order], tally: Tally) -> None:
    if (failure := _landed(flying, tally)) is not None:
        raise failure


def _landed(flying: dict[Future[Receipt], Order], tally: Tally) -> BaseException | None:
    """Count those that are there. One that nobody takes is a failure, whatever it is: what has not begun is called off, and it is
    handed back, so that the others are counted first."""
    done, _ = wait(flying, return_when=FIRST_COMPLETED)
    failure: BaseException | None = None
    for future in done:
        order = flying.pop(future)
        error = None if future.cancelled() else future.exception()
        if future.cancelled():
            tally.not_handed_over += 1
        elif error is None:
            _count(order, future.result(), tally)
        elif isinstance(error, KeyReused | DuplicateOrder):
            tally.refused.append(Refused(order.order_id, TAKEN))
        elif isinstance(error, DataRefused):
            tally.refused.append(Refused(order.order_id, error.reason))
        else:
            tally.not_handed_over += 1
            failure = failure or error
    if failure is not None:
        for future in flying:
            future.cancel()
    return failure


def _count(order: Order, receipt: Receipt, tally: Tally) -> None:
    tally.saga_ids.append(receipt.saga_id)
    tally.saga_of[order.order_id] = receipt.saga_id
    if receipt.is_known:
        tally.already += 1
    else:
        tally.submitted += 1


def _count_repeats(tally: Tally) -> None:
    """Each repeat shares what became of the order in its first line."""
    refusals = {one.reference: one.reason for one in tally.refused}
    for repeat in tally.repeats:
        if repeat.order_id in refusals:
            tally.refused.append(Refused(repeat.reference, refusals[repeat.order_id]))
        elif repeat.order_id in tally.saga_of:
            tally.already += 1
        else:
            tally.not_handed_over += 1
