"""What stands behind `/v1/orders/{id}/returns`: pieces of a completed order come back.

`saga.surfaces.taking_back` says how it is decided; here it becomes answers. A return is durable when it is answered with 202,
and a repeat under its key gets the same answer, whatever became of the order or of the return since. What is refused has
stored nothing, and names what can be asked for instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import BaseModel, Field

from saga.errors import DefinitionError
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import MoreThanLeft, NotCompleted, NotStorable, ReturnWaits, TooManyReturns, WorthNothing
from saga.fulfilment.view import order_view
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.runtime.work import Hint
from saga.store.port import Store
from saga.surfaces.orders_api import POLL_AFTER_S, OrderId
from saga.surfaces.problems import FieldError, Refusal
from saga.surfaces.reading_orders import order_links
from saga.surfaces.reading_returns import ReturnLineReading, ReturnLinks, read_return
from saga.surfaces.receiving import parsed, read_body, request_key
from saga.surfaces.taking_back import ReturnRequest, Standing, latest_order, standing_of, take_back

Body = Annotated[bytes, Depends(read_body)]


class AcceptedReturn(BaseModel):
    """The answer that is kept: the return is durable, and will end."""

    return_id: str
    order_id: str
    saga_id: str
    currency: str
    goods: int = Field(description="minor units: the pieces alone")
    refund: int = Field(description="minor units: goods and their tax; freight is not refunded")
    lines: list[ReturnLineReading]
    links: ReturnLinks


@dataclass(frozen=True)
class Returns:
    """The operations. Every look at the store is within the environment and the tenant of `starter`."""

    store: Store
    starter: Starter
    publish: Callable[[Sequence[Hint]], None]
    definitions: Definitions

    def accept(self, request: Request, response: Response, order_id: OrderId, body: Body) -> AcceptedReturn:
        """Return pieces of a completed order, or all that is left: refunded with their tax, and on the shelf again."""
        key, wanted = request_key(request), parsed(body, ReturnRequest)
        definition = self.definitions.latest(return_order.name)
        try:
            taken = take_back(self.store, self.starter, definition, order_id, wanted, key=key)
        except NotCompleted:
            raise self._in_the_way(order_id) from None
        except MoreThanLeft as error:
            raise Refusal("exceeds_sold", str(error), _lines_of(wanted, error.sku)) from None
        except WorthNothing as error:
            raise Refusal("worth_nothing", str(error), [FieldError(field="lines", rule=str(error))]) from None
        except TooManyReturns as error:
            raise Refusal("too_many_returns", str(error)) from None
        except ReturnWaits as error:
            raise Refusal("return_waits", str(error)) from None
        except NotStorable as error:
            raise Refusal("invalid", str(error)) from error
        self.publish(taken.hints)
        shown = read_return(taken.returned.wanted, taken.returned.state)
        response.headers.update({"Location": shown.links.saga, "Retry-After": str(POLL_AFTER_S)})
        if taken.is_replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return AcceptedReturn.model_validate(shown.model_dump(include=set(AcceptedReturn.model_fields)))

    def _in_the_way(self, order_id: str) -> Refusal:
        """Why nothing of the order can come back, and what can be asked for instead."""
        state = latest_order(self.store, self.starter.environment, self.starter.tenant, order_id)
        definition = self.definitions.get(state.definition, state.version)
        if definition is None:
            raise DefinitionError(f"order {order_id}: this process does not have {state.definition} v{state.version}")
        links, what = order_links(order_id, state.saga_id), f"{order_id} is {order_view(state)}"
        match standing_of(definition, state):
            case Standing.CANCELLABLE:
                detail = f"{what} and can be cancelled; nothing was stored"
                return Refusal("cancel_instead", detail, saga_id=state.saga_id, links={"cancel": links.cancel})
            case Standing.ON_ITS_WAY | Standing.HELD:
                waits = state.halt is not None and not state.halt.heals_itself
                detail = f"{what} and {'waits for a person' if waits else 'goes on'}; ask again once it has completed"
                return Refusal(
                    "not_completed",
                    detail,
                    saga_id=state.saga_id,
                    links={"order": links.order},
                    retry_after_s=None if waits else POLL_AFTER_S,
                )
            case Standing.ROLLED_BACK:
                detail = f"{what}: nothing of it is left to come back"
                return Refusal("rolled_back", detail, saga_id=state.saga_id, links={"order": links.order})


def _lines_of(wanted: ReturnRequest, sku: str) -> list[FieldError]:
    rule = "more than was sold and has not come back"
    fields = [f"lines.{place}.quantity" for place, line in enumerate(wanted.lines) if line.sku == sku]
    return [FieldError(field=field, rule=rule) for field in fields or ["lines"]]
