"""What becomes of the cancellations of a file: an order that can still be rolled back is cancelled, from another one pieces
are returned.

Rules of this file
------------------
- Which orders a cancellation is about is a pure function of the file (`saga.fulfilment.cancellations`), so the same file
  handed over again asks for the same things, and every one of them has a key: nothing is cancelled or returned twice. What
  may come back is decided where every return is (`saga.surfaces.taking_back`).
- The database and the order API are asked alike (`Desk`), so both ways end in the same.
- Only an order that comes back whole is cancelled, when its cancellation is read; the machine says whether it is too late.
- A return stands on what its order's journal says, so it begins when the order has completed. An order that was rolled back
  holds nothing that could be returned. One that is halted in front of a person is not waited for.
- An order whose journal cannot be read is refused under its cancellation's reference and hinders no other (RELIABILITY 18).
  Only a database or an API that is away ends the run.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import requests

from saga.clock import monotonic, sleep
from saga.core.events import CancelAsked
from saga.core.states import ENDED, SagaStatus
from saga.errors import ConcurrencyError, KeyReused, SagaError, SagaNotFound, StoreUnavailable, UsageError
from saga.fulfilment.cancellations import Match, Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled, Refused
from saga.fulfilment.models import Order
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import MoreThanLeft, WorthNothing
from saga.runtime.engine import Definitions, fold, tell
from saga.runtime.starting import Starter
from saga.runtime.work import Hint
from saga.segments import order_path
from saga.store.port import Store
from saga.surfaces.draining import is_over
from saga.surfaces.request_keys import return_key
from saga.surfaces.taking_back import ReturnRequest, WantedLine, take_back

THREADS = 8
POLL_S = 0.1
LOOKS = 64
"""At an order that moves whenever it is to be cancelled; it has no more entries than that unless its steps are repeated."""
OF_ONE_SAGA = frozenset({"journal_unreadable", "definition_missing"})
"""What the order API calls a failure that is about one saga, and not about the API."""
REUSED = "its return was asked for before with other pieces"
ACTOR = "customer"
COUNTED = (
    "cancellations", "cancelled", "returned", "already", "nothing_held", "not_left", "waiting", "unmatched_lines",
    "not_taken_lines",
)  # fmt: skip


@dataclass(slots=True)
class ReturnTally:
    """What became of the cancellations of a file."""

    cancellations: int = 0
    cancelled: int = 0
    """Orders that came back whole and could still be rolled back."""
    returned: int = 0
    """Returns of pieces of an order that had completed."""
    already: int = 0
    nothing_held: int = 0
    """The order was rolled back for another reason, so nothing of it can come back."""
    not_left: int = 0
    """The pieces have come back by another way, or cost nothing."""
    waiting: int = 0
    """The order is halted or did not end in time."""
    unmatched_lines: int = 0
    """Of no order before them in the file that had as many left."""
    not_taken_lines: int = 0
    """Of an order of the file that was refused, or not handed over: matching goes by the file alone."""
    refused: list[Refused] = field(default_factory=list)
    """Returns and cancels that could not be asked for, each by the reference of its cancellation."""
    saga_ids: list[str] = field(default_factory=list)
    """Of the returns that were started, now or before."""
    ended: Counter[str] = field(default_factory=Counter)
    """Those returns by status, once they were waited for."""

    def as_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in COUNTED}
        refusals = [{"reference": one.reference, "reason": one.reason} for one in self.refused]
        return {
            **counts,
            "refused": len(refusals),
            **({"refusals": refusals} if refusals else {}),
            **({"ended": dict(self.ended)} if self.ended else {}),
        }


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One order of one cancellation."""

    reference: str
    match: Match
    saga_id: str

    @property
    def reason(self) -> str:
        return f"cancellation {self.reference}"

    @property
    def key(self) -> str:
        """The request key of the return."""
        return return_key(self.reference, self.match.order_id)


@dataclass(frozen=True, slots=True)
class Rest:
    """Where an order stands that moves no more by itself, and what turned it round."""

    status: SagaStatus
    cause: str


class Desk(Protocol):
    """Whoever can be asked about an order: the database, or the order API."""

    def cancel(self, order_id: str, saga_id: str, reason: str) -> bool:
        """Whether this call asked for it; the machine decides whether it still could."""
        ...

    def rest(self, saga_id: str) -> Rest | None:
        """Where an order stands that nobody but a person can move; None while it moves."""
        ...

    def take_back(self, order_id: str, request: ReturnRequest, key: str) -> tuple[str, bool]:
        """The saga of the return, and whether it was asked for before. Raises `MoreThanLeft`, `WorthNothing`,
        `KeyReused` or `NotCompleted`, or another `UsageError` with the API's own words."""
        ...


@dataclass(frozen=True, slots=True)
class DirectDesk:
    """Straight into the database."""

    store: Store
    starter: Starter
    publish: Callable[[Sequence[Hint]], None]
    definitions: Definitions = field(default_factory=lambda: Definitions([fulfil_order]))

    def cancel(self, order_id: str, saga_id: str, reason: str) -> bool:  # noqa: ARG002  the names are the desk's
        event = CancelAsked(self.store.clock(), ACTOR, reason)
        decision = tell(self.store, self.definitions, saga_id, event, actor=ACTOR)
        return bool(decision.transitions)

    def rest(self, saga_id: str) -> Rest | None:
        row = self.store.row(saga_id)
        if row is None:
            raise SagaNotFound(saga_id)
        state, _, _ = fold(self.store.load([saga_id])[saga_id])  # also while it moves: a damaged one never ends
        if not is_over(row):
            return None
        return Rest(state.status, "" if state.cause is None else state.cause.cause)

    def take_back(self, order_id: str, request: ReturnRequest, key: str) -> tuple[str, bool]:
        taken = take_back(self.store, self.starter, return_order, order_id, request, key=key)
        self.publish(taken.hints)
        return taken.returned.state.saga_id, taken.is_replayed


class Api(Protocol):
    """What is asked of the order API, as `saga.surfaces.submit.HttpIntake` asks it."""

    def saga(self, saga_id: str) -> dict[str, Any]: ...

    def ask(
        self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
    ) -> requests.Response: ...


@dataclass(frozen=True, slots=True)
class HttpDesk:
    """Over the order API."""

    api: Api

    def cancel(self, order_id: str, saga_id: str, reason: str) -> bool:
        """The API cancels the latest run of an order, so it is asked only while that is ours, and only as it was seen."""
        for _ in range(LOOKS):
            seen = self.api.ask("GET", order_path(order_id))
            if seen.status_code != 200:
                raise UsageError(f"the cancel of {order_id} is refused: {_words(seen)}")
            saga = self.api.saga(saga_id)
            is_new = saga["cancel"] is None and saga["cause"] is None and saga["status"] != SagaStatus.COMPLETED
            if not is_new or seen.json()["saga_id"] != saga_id:
                return False
            body, headers = json.dumps({"reason": reason, "actor": ACTOR}), {"If-Match": seen.headers["ETag"]}
            answer = self.api.ask("POST", f"{order_path(order_id)}/cancel", body, headers)
            if answer.status_code in (200, 202, 409):
                return answer.status_code != 409 or code_of(answer) == "waits_for_person"  # which keeps the cancel
            if answer.status_code != 412:
                raise UsageError(f"the cancel of {order_id} is refused: {_words(answer)}")
        raise UsageError(f"the cancel of {order_id} is refused: it has moved at each of {LOOKS} looks")

    def rest(self, saga_id: str) -> Rest | None:
        saga = self.api.saga(saga_id)
        status, halt, cause = SagaStatus(saga["status"]), saga["halt"], saga["cause"]
        if status not in ENDED and not (halt and not halt["heals_itself"]):
            return None
        return Rest(status, cause["cause"] if cause else "")

    def take_back(self, order_id: str, request: ReturnRequest, key: str) -> tuple[str, bool]:
        path, headers = f"{order_path(order_id)}/returns", {"Idempotency-Key": key}
        answer = self.api.ask("POST", path, request.model_dump_json(), headers)
        if answer.status_code == 202:
            return str(answer.json()["saga_id"]), answer.headers.get("Idempotency-Replayed") == "true"
        code = code_of(answer)
        if code == "exceeds_sold":
            raise MoreThanLeft(order_id)
        if code == "worth_nothing":
            raise WorthNothing(_words(answer))
        if code == "key_reused":
            raise KeyReused(key, str(answer.json().get("saga_id", "")))
        raise UsageError(f"the return of {order_id} is refused: {_words(answer)}")


def code_of(answer: requests.Response) -> str:
    """What the API calls its refusal or failure; empty when it says nothing."""
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def _words(answer: requests.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


class Returning:
    """Takes the orders and cancellations of a file in its order; `finish` starts the returns of orders that completed."""

    def __init__(self, desk: Desk, sold: Sold) -> None:
        self._desk, self._sold = desk, sold
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="returning")
        self._wanted: deque[_Wanted] = deque()
        """Those of which it is not known yet what they become."""
        self._cancels: dict[str, Future[bool]] = {}
        self.tally = ReturnTally()

    def sold(self, order: Order) -> None:
        """An order of the file; a later cancellation may be about it."""
        self._sold.add(order)

    def cancelled(self, it: Cancelled, saga_of: Callable[[str], str | None]) -> None:
        """A cancellation of the file. `saga_of` gives the saga of an order that was handed over, or None."""
        self.tally.cancellations += 1
        matches, short = self._sold.match(it)
        self.tally.unmatched_lines += short
        for match in matches:
            saga_id = saga_of(match.order_id)
            if saga_id is None:
                self.tally.not_taken_lines += len(match.pieces)
                continue
            wanted = _Wanted(it.reference, match, saga_id)
            self._wanted.append(wanted)
            if match.is_whole:
                self._ask(wanted)

    def finish(self, *, bound_s: float | None = None) -> bool:
        """Start what is to be returned, as orders end; False when `bound_s` seconds were not enough for all of them.

        Raises `StoreUnavailable` or `ConcurrencyError`, after both of which it may be asked again: it goes on with the
        cancellation that it stood at, and what was counted before stays. What fails about one order is counted as refused.
        """
        give_up_at = None if bound_s is None else monotonic() + bound_s
        while self._wanted:
            wanted = self._wanted[0]
            try:
                self._settle(wanted, self._asked(wanted), give_up_at)
            except (StoreUnavailable, ConcurrencyError):
                raise
            except SagaError as error:
                self._refuse(wanted, error)
            self._wanted.popleft()
        self._pool.shutdown()
        return give_up_at is None or monotonic() <= give_up_at

    def _ask(self, wanted: _Wanted) -> None:
        cancel = self._pool.submit(self._desk.cancel, wanted.match.order_id, wanted.saga_id, wanted.reason)
        self._cancels[wanted.key] = cancel

    def _asked(self, wanted: _Wanted) -> bool | None:
        """Whether this run asked for the cancel; None where there was none to ask for. Raises what the desk did, and asks again."""
        cancel = self._cancels.get(wanted.key)
        try:
            return None if cancel is None else cancel.result()
        except (StoreUnavailable, ConcurrencyError):
            self._ask(wanted)
            raise

    def _settle(self, wanted: _Wanted, is_new: bool | None, give_up_at: float | None) -> None:
        """Count what became of one cancellation; `is_new` says whether this run cancelled its order, None that it was not asked."""
        rest = self._rest(wanted.saga_id, give_up_at)
        if rest is None or rest.status not in ENDED:
            self.tally.waiting += 1
        elif rest.status is SagaStatus.COMPLETED:
            self._return(wanted)
        elif rest.cause == "cancelled" and is_new is not None:
            self.tally.cancelled += is_new
            self.tally.already += not is_new
        else:
            self.tally.nothing_held += 1

    def _refuse(self, wanted: _Wanted, error: SagaError) -> None:
        self.tally.refused.append(Refused(wanted.reference, REUSED if isinstance(error, KeyReused) else str(error)))

    def _rest(self, saga_id: str, give_up_at: float | None) -> Rest | None:
        """Where the order stands once nobody but a person can move it; None when that is not in time."""
        while (found := self._desk.rest(saga_id)) is None:
            if give_up_at is not None and monotonic() > give_up_at:
                return None
            sleep(POLL_S)
        return found

    def _return(self, wanted: _Wanted) -> None:
        lines = tuple(WantedLine(sku=sku, quantity=count) for sku, count in sorted(wanted.match.pieces.items()))
        request = ReturnRequest(lines=lines, reason=wanted.reason)
        try:
            saga_id, is_replayed = self._desk.take_back(wanted.match.order_id, request, wanted.key)
        except (MoreThanLeft, WorthNothing):
            self.tally.not_left += 1
            return
        self.tally.already += is_replayed
        self.tally.returned += not is_replayed
        self.tally.saga_ids.append(saga_id)
