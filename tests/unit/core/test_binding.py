"""How a step gets what it asks for: by annotation, resolved when the definition is built, with errors that help."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel

from saga.core.binding import CONTEXT, INPUT, From, StepContext, called_operation
from saga.core.connector import Call
from saga.core.definition import Kind, Saga, compensatable, parallel, readonly, retriable, sequence
from saga.errors import DefinitionError
from tests.unit.core.shop import Done, Order, barrier, saga_of, step

if TYPE_CHECKING:
    from decimal import Decimal


class Quote(BaseModel):
    """What `quote` answers."""

    cents: int


ask_quote = barrier.query("/quotes", Order, Quote)
book = barrier.post("/bookings", Order, Done)


def quote(order: Order) -> Quote:
    return Quote(cents=len(order.order_id))


def price(quoted: Quote, order: Order, context: StepContext) -> Done:
    return Done(done=quoted.cents > 0 and bool(order) and bool(context.key))


def test_each_parameter_takes_what_its_annotation_names() -> None:
    """Result of an earlier step, the input, the context, in the order of the parameters."""
    built = saga_of(readonly(quote), readonly(price)).by_name["price"]
    assert built.takes.names == ("quoted", "order", "context")
    assert built.takes.sources == ("quote", INPUT, CONTEXT)
    assert built.takes.models == (Quote, Order, None)
    assert built.asks_for() == frozenset({"quote"})
    assert built.result is Done


def test_an_operation_takes_its_request_model() -> None:
    """An operation stands for a step when its request is at hand: the input or one earlier result."""
    priced = barrier.post("/priced", Quote, Done)
    built = saga_of(readonly(quote), retriable(priced, name="charge")).by_name["charge"]
    assert (built.takes.names, built.takes.sources, built.operation) == (("request",), ("quote",), priced)


def test_a_parameter_that_nothing_before_produces_is_refused() -> None:
    """The message names step, parameter, model, and what there is."""
    with pytest.raises(
        DefinitionError, match=r"price: parameter quoted asks for Quote, which nothing before it .*; there is Order"
    ):
        saga_of(readonly(price), readonly(quote))


def test_a_result_of_a_parallel_branch_is_not_before() -> None:
    """Only what is surely done counts: a sibling is not, an earlier step of the same branch is."""
    with pytest.raises(DefinitionError, match="price: parameter quoted asks for Quote"):
        saga_of(parallel(readonly(quote), readonly(price)))
    saga_of(parallel(sequence(readonly(quote), readonly(price)), step("x")))


def test_a_recorded_step_offers_no_result() -> None:
    """A step that may be rejected and skipped cannot be relied on."""
    with pytest.raises(DefinitionError, match="asks for Quote"):
        saga_of(retriable(quote, on_rejected="record", keys="serialise"), readonly(price))


def test_two_sources_are_ambiguous_and_the_error_says_what_to_write() -> None:
    """Two results of one model: nobody guesses."""
    two = (readonly(quote, name="cheap"), readonly(quote, name="fast"))
    with pytest.raises(
        DefinitionError,
        match=r"from 2 places; write Annotated\[Quote, From\('cheap'\)\] or Annotated\[Quote, From\('fast'\)\]",
    ):
        saga_of(*two, readonly(price))


def test_annotated_from_resolves_the_ambiguity() -> None:
    """`Annotated[Model, From("step")]` names the step."""

    def pick(one: Annotated[Quote, From("fast")]) -> Done:
        return Done(done=bool(one))

    built = saga_of(readonly(quote, name="cheap"), readonly(quote, name="fast"), readonly(pick))
    assert built.by_name["pick"].takes.sources == ("fast",)


@pytest.mark.parametrize("source", ["nobody", "later", "other_model"])
def test_from_a_step_that_does_not_offer_it_is_refused(source: str) -> None:
    """No such step, a later one, or one that returns something else: the message names it."""

    def pick(one: Annotated[Quote, From(source)]) -> Done:
        return Done(done=bool(one))

    with pytest.raises(
        DefinitionError, match=rf"pick: one takes From\('{source}'\), and no step of that name before it"
    ):
        saga_of(step("other_model"), readonly(pick), readonly(quote, name="later"))


def test_annotated_without_from_is_its_model() -> None:
    """Other marks (a validator, documentation) do not disturb."""

    def pick(one: Annotated[Order, "the order"]) -> Done:
        return Done(done=bool(one))

    assert saga_of(readonly(pick)).by_name["pick"].takes.sources == (INPUT,)


def test_a_parameter_without_annotation_is_refused() -> None:
    """It is named, with what may be written; nothing is said of a `None` that nobody wrote."""

    def untyped(order):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return order

    untyped.__annotations__["return"] = Done
    with pytest.raises(
        DefinitionError, match="untyped: parameter order has no type annotation; annotate it with the saga"
    ):
        saga_of(readonly(untyped))


def _any_number(*orders: Order) -> Done:
    return Done(done=bool(orders))


def _by_any_name(**orders: Order) -> Done:
    return Done(done=bool(orders))


def _by_name(*, orders: Order) -> Done:
    return Done(done=bool(orders))


@pytest.mark.parametrize("odd", [_any_number, _by_any_name, _by_name])
def test_a_parameter_that_no_place_fills_is_refused(odd: Any) -> None:
    """Values are handed over by place: any other parameter would break each order in the worker. So for what undoes."""
    with pytest.raises(DefinitionError, match=r"x: parameter orders stands behind a \* .* as in \(order: Order\)"):
        saga_of(readonly(odd, name="x"))
    with pytest.raises(DefinitionError, match=r"quote \(compensation\): parameter orders stands behind a \*"):
        saga_of(compensatable(quote, compensation=odd, keys="serialise"))


def test_a_hint_that_cannot_be_resolved_has_a_message_of_its_own() -> None:
    """An import under TYPE_CHECKING is the usual cause, and the message says so."""

    def rate(order: "Decimal") -> Done:
        return Done(done=order == 1)

    with pytest.raises(
        DefinitionError, match=r"rate: the type hint 'Decimal' cannot be resolved; import it at run time"
    ):
        saga_of(readonly(rate))


@pytest.mark.parametrize("returned", [dict, int, Any, list[Quote]])
def test_a_result_that_is_no_json_model_is_refused(returned: object) -> None:
    """What goes into the journal must come out again; the message says what to return."""

    def odd(order: Order) -> Any:
        return order

    odd.__annotations__["return"] = returned
    with pytest.raises(DefinitionError, match=r"odd: must say what it returns, a JSON model .* Call\[Model\] or None"):
        saga_of(readonly(odd))


def test_a_function_may_return_nothing() -> None:
    """None is a result that nobody can ask for."""

    def note(order: Order) -> None:
        assert order.order_id

    assert saga_of(retriable(note, keys="serialise")).by_name["note"].result is None


def test_a_function_without_return_annotation_is_refused() -> None:
    """Nobody guesses what it returns."""

    def silent(order: Order):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return order

    with pytest.raises(DefinitionError, match=r"silent: must say what it returns, .*; it says nothing$"):
        saga_of(readonly(silent))


@pytest.mark.parametrize("odd", ["a string", 7])
def test_a_step_is_a_function_or_an_operation(odd: Any) -> None:
    """Anything else is shown as what it is."""
    with pytest.raises(DefinitionError, match=r"x: action=.*; it is a function or an operation"):
        saga_of(readonly(odd, name="x"))


def test_a_compensation_is_a_function_or_an_undo() -> None:
    """The same for what undoes; the message names the step and the direction."""
    with pytest.raises(DefinitionError, match=r"quote: compensation=7; it is a function, or the undo of an operation"):
        saga_of(compensatable(quote, compensation=7))  # type: ignore[call-overload, arg-type, unused-ignore]


def test_a_compensation_takes_its_own_result_and_what_was_before() -> None:
    """The action's result is there, because the compensation runs only when the action is known to be applied."""

    def unquote(quoted: Annotated[Quote, From("quote")], order: Order) -> None:
        assert (quoted.cents, order.order_id) != (0, "")

    built = saga_of(compensatable(quote, compensation=unquote, keys="serialise")).by_name["quote"]
    assert built.compensation_takes.sources == ("quote", INPUT)


def test_called_operation_is_seen_in_the_code() -> None:
    """Among the names in the function's code, the one whose result is promised: global or closed over."""

    def order_quote(order: Order) -> Call[Quote]:
        return ask_quote(order)

    local = barrier.post("/local", Order, Quote)

    def order_local(order: Order) -> Call[Quote]:
        return local(order)

    assert called_operation(order_quote) is ask_quote
    assert called_operation(order_local) is local
    assert called_operation(ask_quote) is ask_quote
    assert called_operation(quote) is None
    assert called_operation(print) is None


def test_a_method_may_be_a_call_step() -> None:
    """A bound method is read like a function: its operation is seen, and the step is a call."""

    class Quoting:
        def order_quote(self, order: Order) -> Call[Quote]:
            return ask_quote(order)

    built = saga_of(readonly(Quoting().order_quote)).by_name["order_quote"]
    assert (built.operation, built.result, built.takes.sources) == (ask_quote, Quote, (INPUT,))


def test_a_callable_without_hints_is_refused() -> None:
    """A `functools.partial` has no annotations to read; the message says to write a function."""
    with pytest.raises(DefinitionError, match=r"x: functools\.partial.* carries no type hints; write a function"):
        saga_of(readonly(partial(quote), name="x"))


def test_of_two_operations_the_promised_result_decides() -> None:
    """Another operation in the same function does not disturb when its result is another model."""

    def either(order: Order) -> Call[Quote]:
        book(order)
        return ask_quote(order)

    assert called_operation(either) is ask_quote


def test_an_operation_that_cannot_be_seen_is_asked_for() -> None:
    """None or two in sight: the message says to write operation=..., and then it is taken."""
    table = {"quote": ask_quote}

    def hidden(order: Order) -> Call[Quote]:
        return table["quote"](order)

    with pytest.raises(DefinitionError, match=r"hidden returns Call\[Quote\] by 0 operations; write operation=\.\.\."):
        saga_of(readonly(hidden))
    assert saga_of(readonly(hidden, operation=ask_quote)).by_name["hidden"].operation is ask_quote


def test_two_operations_of_one_result_are_ambiguous() -> None:
    """Which of the two is called is decided at run time, so it cannot be a fact of the definition."""
    other = barrier.post("/other", Order, Quote)

    def both(order: Order) -> Call[Quote]:
        return other(order) if order.order_id else ask_quote(order)

    with pytest.raises(DefinitionError, match="by 2 operations"):
        saga_of(readonly(both))


def test_input_and_result_of_one_model_are_ambiguous() -> None:
    """A step that returns the input's own model makes `Order` mean two things; the error offers the step."""

    def enrich(order: Order) -> Order:
        return order

    with pytest.raises(DefinitionError, match=r"from 2 places; write Annotated\[Order, From\('enrich'\)\]"):
        Saga("shop", 1, Order, lambda order: order.order_id, [readonly(enrich), step("late", Kind.READONLY)])
