"""A: a model that does not read back as itself. Money changed, and the audit stayed green.

Each is refused when the saga is built, or when the value is there and nothing is stored yet; what is kept reads back equal."""

from collections.abc import Callable
from dataclasses import InitVar, dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    FutureDatetime,
    Json,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    computed_field,
    field_validator,
)
from pydantic import Secret as AnySecret
from pydantic.dataclasses import dataclass as pydantic_dataclass

from saga.core.connector import Call, Connector
from saga.core.definition import Saga, compensatable, pivot, readonly
from saga.core.models import refuse_lossy
from saga.core.outcomes import OutcomeCode
from saga.core.states import Effect, HaltReason, SagaStatus
from saga.errors import DefinitionError, NotReadBack
from saga.runtime.classify import Answer, classify
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.readback import written
from saga.runtime.starting import new_saga
from saga.store.memory import MemoryStore
from tests.simulation.stepping import Process, state_of


class B(BaseModel):
    order_id: str = "SO-1"


class Secret(B):
    card: SecretStr


class Hidden(B):
    number: list[AnySecret[int]]


class Excluded(B):
    discount: int = Field(default=0, exclude=True)


class Aliased(B):
    qty: int = Field(alias="Quantity")


class ReadAsOther(B):
    qty: int = Field(validation_alias="Quantity")


class Computed(B):
    model_config = ConfigDict(extra="forbid")
    net: int
    tax: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return self.net + self.tax


class Weight(B):
    weight_kg: float


class Cents(B):
    amount: int

    @field_validator("amount", mode="before")
    @classmethod
    def cents(cls, value: Any) -> int:
        return round(float(value) * 100)


class Item(BaseModel):
    sku: str


class Heavy(Item):
    kg: int = 1


class Basket(B):
    items: list[Item]

    @field_validator("items", mode="before")
    @classmethod
    def make(cls, values: list[dict[str, Any]]) -> list[Item]:
        return [Heavy(**it) if "kg" in it else Item(**it) for it in values]


def nothing() -> None:
    """The step."""


def of(model: type[Any]) -> Saga[Any]:
    return Saga("cases", 1, model, lambda order: order.order_id, [readonly(nothing)])


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Hidden, r"Hidden.number is a Secret.*pass a reference"),
        (Secret, r"cases: input: Secret.card is a SecretStr.*pass a reference, such as the token of a card"),
        (Excluded, r"cases: input: Excluded.discount has exclude=True.*drop exclude"),
        (ReadAsOther, r"ReadAsOther.qty is written as 'qty' and read as 'Quantity'; write alias=… for both"),
    ],
)
def test_what_the_class_shows_is_refused_when_the_saga_is_built(model: type[BaseModel], says: str) -> None:
    """F3a, F3b: before there is an order; with what to write instead."""
    with pytest.raises(DefinitionError, match=says):
        of(model)


@pytest.mark.parametrize(
    ("value", "field", "says"),
    [
        (Cents(amount=12.34), "amount", "it is 1234, and reads back as 123400"),
        (Weight(weight_kg=float("nan")), "weight_kg", "Input should be a valid number"),
        (Basket(items=[{"sku": "A", "kg": 3}]), "items.0", "Heavy"),
        (
            Weight.model_construct(order_id="SO-1", weight_kg=3),
            "weight_kg",
            "it is 3 (int), and reads back as 3.0 (float)",
        ),
    ],
    ids=["F3h", "F3g", "F3i", "not validated"],
)
def test_what_only_the_value_shows_is_refused_at_accept(value: BaseModel, field: str, says: str) -> None:
    """The field and the cause are named, and no saga is made."""
    store = MemoryStore()
    with pytest.raises(NotReadBack) as refused:
        new_saga(of(type(value)), value, store, environment="test", tenant="test")
    assert (refused.value.field, says in refused.value.why) == (field, True)
    assert str(refused.value).startswith(f"input of cases, {field}: ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Aliased(Quantity=3), '{"order_id":"SO-1","Quantity":3}'),
        (Computed(net=10, tax=2), '{"order_id":"SO-1","net":10,"tax":2}'),
    ],
    ids=["F3c", "F3d"],
)
def test_what_reads_back_is_taken(value: BaseModel, text: str) -> None:
    """An alias is written as it is read, and what is computed is computed anew."""
    new = new_saga(of(type(value)), value, MemoryStore(), environment="test", tenant="test")
    assert text.replace('"', '\\"') in new.first_entry(1).body


bank = Connector("bank", keys="serialise", remembers_rejections=True, rejected={402: "declined"})


def test_the_result_of_a_participant_is_kept_by_the_names_it_has() -> None:
    """F3c: the answer was read by its alias and written without, and the step behind it could not read it."""
    outcome = classify(Answer(200, {}, b'{"order_id": "SO-1", "Quantity": 3, "more": 1}'), bank, Aliased)
    assert (outcome.code, outcome.result and outcome.result.data) == (
        OutcomeCode.SUCCEEDED,
        '{"order_id":"SO-1","Quantity":3}',
    )


def test_an_answer_that_does_not_read_back_is_a_defect_whose_effect_is_kept() -> None:
    """F3h at a result: the participant did it, and what it said cannot be told to the next step."""
    outcome = classify(Answer(200, {}, b'{"amount": 12.34}'), bank, Cents)
    assert outcome.code is OutcomeCode.DEFECT
    assert outcome.detail == "HTTP 200: its result, amount: it is 1234, and reads back as 123400"


class Charged(BaseModel):
    ref: str


charges = bank.post("/charges", Cents, Charged)
refunds = bank.undo("/charges/undo", of=charges)


def test_a_request_that_forbids_what_it_says_is_refused() -> None:
    """Its participant does not compute it; a model that would not take it back is refused when the saga is built."""
    totals, forbids = (
        bank.post("/totals", Computed, Charged),
        "Computed.total is computed and sent, and Computed would not read it back",
    )
    with pytest.raises(DefinitionError, match=forbids):
        Saga("sends", 1, Computed, lambda order: order.order_id, [pivot(totals, name="pay")])


def test_a_request_says_what_is_computed() -> None:
    """In what is sent, and not in a journal."""

    class Total(B):
        net: int

        @computed_field  # type: ignore[prop-decorator]
        @property
        def total(self) -> int:
            return self.net + 1

    assert written(Total(net=1), "it", is_sent=True) == '{"order_id":"SO-1","net":1,"total":2}'
    assert written(Total(net=1), "it") == '{"order_id":"SO-1","net":1}'


def test_a_request_that_does_not_read_back_is_not_sent() -> None:
    """The bytes would say something else than the step meant."""

    def charge(_order: B) -> Call[Charged]:
        return charges(Cents(amount=12.34))

    saga = Saga("sends", 1, B, lambda order: order.order_id, [compensatable(charge, compensation=refunds)])
    store, definitions = MemoryStore(), Definitions([saga])
    new = new_saga(saga, B(), store, environment="test", tenant="test")
    process = Process(store, definitions, "w1")
    process.wake(store.accept([new])[0].saga_id)
    process.settle()
    state = state_of(store, definitions, new.saga_id)
    assert (process.calls, state.status, state.halt and state.halt.reason) == ([], SagaStatus.HALTED, HaltReason.DEFECT)
    assert "charge: its request, amount: it is 1234, and reads back as 123400" in state.node("charge:a").detail


@dataclass
class Looks:
    """No pydantic at all: a class with the three methods."""

    n: int
    note: str = ""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def model_validate_json(cls, text: str) -> "Looks":
        return cls(int(text))

    def model_dump_json(self) -> str:
        return str(self.n)


@pytest.mark.parametrize(("value", "is_kept"), [(Looks(3), True), (Looks(3, "left"), False)])
def test_a_model_of_another_kind_is_held_to_the_same(value: Looks, is_kept: bool) -> None:
    """Whatever makes the JSON, the value is compared."""
    saga = Saga("cases", 1, Looks, lambda order: str(order.n), [readonly(nothing)])
    if is_kept:
        assert new_saga(saga, value, MemoryStore(), environment="test", tenant="test").entity == "3"
        return
    with pytest.raises(NotReadBack, match="input of cases, note: it reads back as another str"):
        new_saga(saga, value, MemoryStore(), environment="test", tenant="test")


class Held(BaseModel):
    ref: str


class Hold(BaseModel):
    ref: str


def hold(_order: B) -> Held:
    return Hold(ref="r")  # type: ignore[return-value]  # F4


def give_back(_held: Held) -> None:
    """Nothing is really held."""


def test_a_step_that_returns_another_model_is_a_defect() -> None:
    """F4: it was called a success, and its rollback was stuck. What it did is not known, and is not forgotten."""
    saga = Saga(
        "held", 1, B, lambda order: order.order_id, [compensatable(hold, compensation=give_back, keys="serialise")]
    )
    store, definitions = MemoryStore(), Definitions([saga])
    new = new_saga(saga, B(), store, environment="test", tenant="test")
    process = Process(store, definitions, "w1")
    process.wake(store.accept([new])[0].saga_id)
    process.settle()
    process.finish(process.calls[0], Executor(str, store.clock).perform(process.calls[0]))
    process.settle()
    state = state_of(store, definitions, new.saga_id)
    node = state.node("hold:a")
    assert (state.halt and state.halt.reason, node.effect) == (HaltReason.DEFECT, Effect.UNKNOWN)
    assert node.detail == "hold returned Hold(ref='r') instead of Held"


class Colour(Enum):
    RED = "red"


class Fee(B):
    fee: float = 0
    rate: Decimal = 0  # type: ignore[assignment]  # pydantic validates no default
    tags: tuple[str, ...] = []  # type: ignore[assignment]
    colour: Colour = "red"  # type: ignore[assignment]


class CentsUnsaid(B):
    amount: int = 12

    @field_validator("amount", mode="before")
    @classmethod
    def cents(cls, value: float) -> int:
        return round(float(value) * 100)


def test_a_default_that_nobody_said_is_taken_as_its_field_reads_it() -> None:
    """A bank that says no fee halted the order after the money was taken. A default that a validator would change is still refused."""
    text = written(Fee(), "its result")
    assert (Fee.model_validate_json(text).fee, Fee.model_validate_json(text).tags) == (0.0, ())
    assert classify(Answer(200, {}, b'{"order_id": "1"}'), bank, Fee).code is OutcomeCode.SUCCEEDED
    with pytest.raises(NotReadBack, match="amount: it is 12, and reads back as 1200"):
        written(CentsUnsaid(), "input of cases")


class Hamper(B):
    lines: list[Any] = []
    fee: Annotated[Decimal, PlainSerializer(lambda it: str(round(it)))] = Decimal("1.99")


def test_what_was_put_into_a_default_is_compared() -> None:
    """Nobody said the field, and it is not its default any more. A default that a serialiser rounds has not come back."""
    filled = Hamper(fee=Decimal(2))
    written(filled, "its result")
    filled.lines.append(Decimal("0.19"))
    for hamper, field in ((filled, "lines.0"), (Hamper(), "fee")):
        with pytest.raises(NotReadBack) as refused:
            written(hamper, "its result")
        assert refused.value.field == field


class Price(int):
    currency = "EUR"


class SameId:
    """Equal by its id alone."""

    def __init__(self, number: int, weight: int) -> None:
        self.number, self.weight = number, weight

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameId) and self.number == other.number

    __hash__ = None  # type: ignore[assignment]


def _price(value: Any) -> Price:
    return value if isinstance(value, Price) else Price(value)


def _same(value: Any) -> SameId:
    return value if isinstance(value, SameId) else SameId(int(value), 0)


class Carrying(B):
    price: Annotated[Any, PlainValidator(_price), PlainSerializer(int)] = Price(1)
    same: Annotated[Any, PlainValidator(_same), PlainSerializer(lambda it: it.number)] = SameId(0, 0)


@pydantic_dataclass
class Line:
    pieces: int
    price: InitVar[int] = 2

    def __post_init__(self, price: int) -> None:
        self.total = self.pieces * price


class WithLine(B):
    line: Line


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (lambda: Carrying(price=_in_dollars()), "price.currency"),
        (lambda: Carrying(same=SameId(1, 99)), "same.weight"),
        (lambda: WithLine(line=Line(3, 5)), "line.total"),
    ],
)
def test_what_an_equality_does_not_look_at_is_looked_at(value: Callable[[], BaseModel], field: str) -> None:
    """An entity was made of a total of 15, and its step charged 6."""
    with pytest.raises(NotReadBack) as refused:
        written(value(), "input of cases")
    assert refused.value.field == field


def _in_dollars() -> Price:
    price = Price(5)
    price.currency = "USD"
    return price


class Infinite(B):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    weight: float


class Later(B):
    until: FutureDatetime | None = None


class OnDisk(B):
    paths: list[FilePath] = []


class Loose(B):
    model_config = ConfigDict(extra="allow")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return 1


class Meta(B):
    meta: Json[dict[str, int]]


def test_infinity_is_no_number_of_json() -> None:
    """The bank got `Infinity`, which is no JSON."""
    with pytest.raises(NotReadBack, match="Infinity is no number of JSON"):
        written(Infinite(weight=float("inf")), "input of cases")


@pytest.mark.parametrize(
    ("model", "is_sent", "says"),
    [
        (Later, False, "Later.until is a FutureDatetime"),
        (OnDisk, False, "OnDisk.paths is a PathType"),
        (Loose, True, "Loose.total is computed and sent"),
        (Meta, True, "Meta.meta is a Json"),
    ],
)
def test_what_holds_at_one_moment_or_never_is_refused_when_the_saga_is_built(
    model: type[BaseModel], is_sent: bool, says: str
) -> None:
    """A rollback read a hold that had expired, and was stuck; a request that cannot be sent was found after stock was held."""
    with pytest.raises(DefinitionError, match=says):
        refuse_lossy(model, "its model", is_sent=is_sent)
    if model is Meta:
        refuse_lossy(model, "its model")


def test_no_text_of_a_customer_stands_in_a_refusal() -> None:
    """It may be the number of a card."""
    with pytest.raises(NotReadBack) as refused:
        written(Masked(card="4111111111111111"), "input of cases")
    assert "4111" not in str(refused.value)


class Masked(B):
    card: Annotated[str, PlainSerializer(lambda it: it[-4:].rjust(16, "*"))]
