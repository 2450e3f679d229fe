"""What stands behind `/v1/sagas`: sagas of any definition are started, shown and cancelled; their nodes and their journals.

Everything is within one environment and tenant; what belongs to another does not exist here: 404, not 403. The product's own
definitions are not started here: an order has a protocol of its own (`/v1/orders`), and a return is counted against its order.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from saga.core.connector import Model
from saga.core.definition import Saga
from saga.core.states import HaltReason, SagaStatus
from saga.errors import CodecError, DataRefused, NotReadBack, SagaNotFound, UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions, fold
from saga.runtime.starting import Starter, first_hints
from saga.runtime.work import Hint
from saga.store.port import SagaFilter, SagaRow, Store
from saga.surfaces import reading
from saga.surfaces.cancelling import Cancelled, CancelRequest, CancelStanding, SagaChanged, cancel, held_words
from saga.surfaces.conditions import entity_tag, names_tag
from saga.surfaces.inputs import entity_of, input_of, refuse_unstorable
from saga.surfaces.orders_api import POLL_AFTER_S, Body, changed, journal_of
from saga.surfaces.paging import Cursor, Limit, next_link, position
from saga.surfaces.partly import read_partly
from saga.surfaces.problems import FieldError, Refusal, broken, field_errors
from saga.surfaces.reading import SagaLinks, saga_links
from saga.surfaces.reading_journal import JournalReading, read_journal
from saga.surfaces.receiving import optional_key, parsed, refuse_other_query, request_key

PRODUCT = frozenset({fulfil_order.name, return_order.name})
SagaId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Text = Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class StartRequest(BaseModel):
    """A saga that is to be started, of the latest version of its definition."""

    model_config = ConfigDict(extra="forbid")

    definition: str = Field(min_length=1, max_length=200, description="its name, as `GET /v1/sagas` shows it")
    input: dict[str, JsonValue] = Field(description="what the definition's input model reads")


class StartedSaga(BaseModel):
    """The answer to a start: the saga is durable and will end."""

    saga_id: str
    definition: str
    entity: str
    run: int
    links: SagaLinks


class CancelledSaga(reading.SagaReading):
    """The saga, and what became of the cancel."""

    cancelled: Literal[CancelStanding.ACCEPTED, CancelStanding.PENDING, CancelStanding.DONE]


class SagaPage(BaseModel):
    """One page, the latest accepted first; the header `Link` names the next."""

    items: list[reading.SagaSummary]


@dataclass(frozen=True)
class Sagas:
    """The operations."""

    store: Store
    definitions: Definitions
    starter: Starter
    publish: Callable[[Sequence[Hint]], None]

    @property
    def startable(self) -> dict[str, Saga[Any]]:
        """Name to the latest version of each definition that is started here."""
        names = sorted({saga.name for saga in self.definitions} - PRODUCT)
        return {name: self.definitions.latest(name) for name in names}

    def start(self, request: Request, response: Response, body: Body) -> StartedSaga:
        """Start a saga. Repeat it with the same Idempotency-Key as often as you like: there is one."""
        key, asked = request_key(request), parsed(body, StartRequest)
        definition = self.startable.get(asked.definition)
        if definition is None:
            rule = f"is none that is started here; there are {', '.join(self.startable)}"
            raise Refusal("invalid", broken(1), [FieldError(field="definition", rule=rule)])
        wanted = _input_of(definition, asked.input)
        try:
            entity = entity_of(definition, wanted)
            started = self.starter.start(definition, wanted, request_key=key)
        except UsageError as error:
            raise Refusal("invalid", broken(1), [FieldError(field="input", rule=str(error))]) from error
        except NotReadBack as error:
            named = [FieldError(field=".".join(filter(None, ("input", error.field))), rule=error.why)]
            raise Refusal("invalid", broken(1), named) from error
        except (CodecError, DataRefused) as error:
            raise Refusal("invalid", "the database cannot hold this input; nothing was stored") from error
        if started.is_replayed:
            response.headers["Idempotency-Replayed"] = "true"
        else:
            self.publish(first_hints(definition, started.saga_id))
        links = saga_links(started.saga_id)
        response.headers.update({"Location": links.saga, "Retry-After": str(POLL_AFTER_S)})
        return StartedSaga(
            saga_id=started.saga_id, definition=definition.name, entity=entity, run=started.run, links=links
        )

    def cancel(self, request: Request, response: Response, saga_id: SagaId, body: Body) -> CancelledSaga:
        """Cancel a saga: it is rolled back, unless its point of no return has succeeded. A second cancel is the same."""
        optional_key(request)
        asked = parsed(body, CancelRequest)
        self._own(saga_id)
        _, seq, _ = fold(journal_of(self.store, saga_id))
        given = [value.strip() for value in request.headers.getlist("if-match")]
        is_conditional = bool(given) and given != ["*"]
        if is_conditional and not names_tag(given, entity_tag(saga_id, seq), weakly=False):
            raise changed()
        only_at = seq if is_conditional else None
        try:
            found = cancel(self.store, self.definitions, saga_id, asked, surface="api", only_at=only_at)
        except SagaChanged as error:
            raise changed() from error
        self.publish(found.hints)
        return self._answered(found, response)

    def _answered(self, found: Cancelled, response: Response) -> CancelledSaga:
        state, links = found.state, saga_links(found.state.saga_id)
        if found.standing is CancelStanding.HELD:
            detail = f"{state.entity} {held_words(state)}"
            raise Refusal("waits_for_person", detail, saga_id=state.saga_id, links={"saga": links.saga})
        if found.standing is CancelStanding.REFUSED:
            detail = f"{state.entity} is past its point of no return and goes forward only; nothing was cancelled"
            raise Refusal("past_no_return", detail, saga_id=state.saga_id, links={"saga": links.saga})
        response.status_code = 200 if found.standing is CancelStanding.DONE else 202
        response.headers["ETag"] = entity_tag(state.saga_id, found.seq)
        if found.standing is not CancelStanding.DONE:
            response.headers.update({"Location": links.saga, "Retry-After": str(POLL_AFTER_S)})
        definition = self.definitions.get(state.definition, state.version)
        shown = reading.read_saga(state, found.seq, definition)
        return CancelledSaga.model_validate({**dict(shown), "cancelled": found.standing})

    def page(
        self,
        request: Request,
        response: Response,
        status: Annotated[list[SagaStatus] | None, Query(description="may be repeated")] = None,
        halt_reason: Annotated[HaltReason | None, Query(description="why it is halted")] = None,
        definition: Text | None = None,
        entity: Text | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> SagaPage:
        """Sagas of any definition, the latest accepted first."""
        refuse_other_query(request, "halt_reason", "definition", "entity", "cursor", "limit", repeatable="status")
        wanted = SagaFilter(
            definition,
            tuple(status or ()),
            halt_reason=halt_reason,
            entity=entity,
            environment=self.starter.environment,
            tenant=self.starter.tenant,
            before=position("/v1/sagas", cursor),
        )
        rows = self.store.find(wanted, limit + 1)
        if len(rows) > limit:
            asked = {
                "status": status,
                "halt_reason": halt_reason,
                "definition": definition,
                "entity": entity,
                "limit": limit,
            }
            last = rows[limit - 1]
            response.headers["Link"] = next_link("/v1/sagas", asked, last.accepted_at, last.saga_id)
        return SagaPage(items=[reading.read_row(row) for row in rows[:limit]])

    def show(self, request: Request, response: Response, saga_id: SagaId) -> reading.SagaReading | Response:
        """One saga: status, nodes, plan, and why it stands or turned round."""
        row = self._own(saga_id)
        seen = read_partly(row, journal_of(self.store, saga_id))
        tag = entity_tag(saga_id, seen.seq)
        if names_tag(request.headers.getlist("if-none-match"), tag, weakly=True):
            return Response(status_code=304, headers={"ETag": tag})
        response.headers["ETag"] = tag
        definition = self.definitions.get(seen.state.definition, seen.state.version)
        return reading.read_saga(seen.state, seen.seq, definition, seen.unreadable)

    def journal(self, saga_id: SagaId) -> JournalReading:
        """Every transition of one saga. Of a payload only its length and digest are shown."""
        self._own(saga_id)
        return read_journal(saga_id, journal_of(self.store, saga_id))

    def _own(self, saga_id: str) -> SagaRow:
        row = self.store.row(saga_id)
        if row is None or (row.environment, row.tenant) != (self.starter.environment, self.starter.tenant):
            raise SagaNotFound(saga_id)
        return row


def _input_of(definition: Saga[Any], value: Mapping[str, Any]) -> Model:
    """The input as its model reads it. A rule that is broken is named by its field."""
    try:
        text = json.dumps(value)
        refuse_unstorable(text, f"input of {definition.name}")
        return input_of(definition, text)
    except UsageError as error:
        raise Refusal("invalid", broken(1), [FieldError(field="input", rule=str(error))]) from error
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        placed = [{**one, "loc": ("input", *one["loc"])} for one in errors]
        raise Refusal("invalid", broken(len(placed)), field_errors(placed, whole="input")) from None
