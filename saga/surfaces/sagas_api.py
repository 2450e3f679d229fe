"""What stands behind `/v1/sagas`: sagas of any definition, their nodes and their journals, for operators.

Everything is within one environment and tenant; what belongs to another does not exist here: 404, not 403.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel

from saga.core.states import SagaStatus
from saga.errors import SagaNotFound
from saga.runtime.engine import Definitions
from saga.store.port import SagaFilter, SagaRow, Store
from saga.surfaces import reading
from saga.surfaces.conditions import entity_tag, names_tag
from saga.surfaces.orders_api import journal_of
from saga.surfaces.paging import Cursor, Limit, next_link, position
from saga.surfaces.partly import read_partly
from saga.surfaces.reading_journal import JournalReading, read_journal
from saga.surfaces.receiving import refuse_other_query

SagaId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Text = Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class SagaPage(BaseModel):
    """One page, the latest accepted first; the header `Link` names the next."""

    items: list[reading.SagaSummary]


@dataclass(frozen=True)
class Sagas:
    """The operations."""

    store: Store
    definitions: Definitions
    environment: str
    tenant: str

    def page(
        self,
        request: Request,
        response: Response,
        status: Annotated[list[SagaStatus] | None, Query(description="may be repeated")] = None,
        definition: Text | None = None,
        entity: Text | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> SagaPage:
        """Sagas of any definition, the latest accepted first."""
        refuse_other_query(request, "definition", "entity", "cursor", "limit", repeatable="status")
        wanted = SagaFilter(
            definition,
            tuple(status or ()),
            entity=entity,
            environment=self.environment,
            tenant=self.tenant,
            before=position("/v1/sagas", cursor),
        )
        rows = self.store.find(wanted, limit + 1)
        if len(rows) > limit:
            asked = {"status": status, "definition": definition, "entity": entity, "limit": limit}
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
        if row is None or (row.environment, row.tenant) != (self.environment, self.tenant):
            raise SagaNotFound(saga_id)
        return row
