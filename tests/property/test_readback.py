"""Random models of pydantic: each is refused when the saga is built, or its value is refused at accept, or it reads back equal."""

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    computed_field,
    create_model,
)
from pydantic import dataclasses as pydantic_dataclasses

from saga.core.definition import Saga, readonly
from saga.core.transitions import SagaAccepted
from saga.errors import DefinitionError, NotReadBack
from saga.runtime.starting import new_saga
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from tests.property.definitions import TIMES


class Colour(enum.Enum):
    RED, BLUE = "red", "blue"


class Sku(str):
    """A text of its own class."""

    __slots__ = ()


class Part(BaseModel):
    sku: str
    n: int = 1


class Wide(Part):
    kg: int = 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = "Rex"


@dataclass
class Plain:
    a: int
    b: str = ""


@pydantic_dataclasses.dataclass
class Checked:
    a: int
    b: list[int]


class Hidden(BaseModel):
    shown: int = 1
    _hidden: int = PrivateAttr(0)


class Opaque:
    """A class that pydantic only knows by its validator, and that has no `__eq__`."""

    def __init__(self, n: int) -> None:
        self.n = n


def hidden(n: int) -> Hidden:
    made = Hidden()
    made._hidden = n
    return made


def as_opaque(cls: type[Opaque]) -> Any:
    return Annotated[
        cls, BeforeValidator(lambda it: it if isinstance(it, cls) else cls(int(it))), PlainSerializer(lambda it: it.n)
    ]


TEXTS, INTS = (
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    st.integers(-(2**40), 2**40),
)
SIMPLE: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, INTS),
    (str, TEXTS),
    (bool, st.booleans()),
    (float, st.floats()),
    (Decimal, st.decimals(allow_nan=None, places=3)),
    (bytes, st.binary(max_size=4)),
    (dt.datetime, st.datetimes()),
    (dt.datetime, st.datetimes(timezones=st.just(dt.UTC))),
    (dt.date, st.dates()),
    (dt.timedelta, st.timedeltas()),
    (uuid.UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Any, st.one_of(INTS, TEXTS, st.tuples(INTS), st.dates(), st.sampled_from(Colour), st.floats())),
    (Sku, TEXTS.map(Sku)),
    (object, st.one_of(INTS, st.builds(Plain, INTS))),
    (Part, st.builds(Part, sku=TEXTS, n=INTS)),
    (Part, st.builds(Wide, sku=TEXTS, kg=INTS)),
    (Annotated[Cat | Dog, Field(discriminator="kind")], st.one_of(st.builds(Cat, lives=INTS), st.builds(Dog, name=TEXTS))),
    (Cat | Dog, st.one_of(st.builds(Cat, lives=INTS), st.builds(Dog, name=TEXTS))),
    (int | str, st.one_of(INTS, TEXTS, INTS.map(str))),
    (int | float | bool, st.one_of(INTS, st.booleans(), st.floats(allow_nan=False), INTS.map(float))),
    (Plain, st.builds(Plain, INTS, TEXTS)),
    (Checked, st.builds(Checked, INTS, st.lists(INTS, max_size=2))),
    (Hidden, st.integers(0, 1).map(hidden)),
    (SecretStr, TEXTS.map(SecretStr)),
    (Json[list[int]], st.lists(INTS, max_size=2).map(str)),
    (as_opaque(Opaque), INTS.map(Opaque)),
    (Annotated[int, BeforeValidator(lambda it: int(it) * 100)], INTS),
    (Annotated[int, AfterValidator(abs)], INTS),
    (Annotated[str, AfterValidator(str.strip)], TEXTS),
    (Annotated[str, AfterValidator(lambda it: it + "!")], TEXTS),
    (Annotated[int, PlainSerializer(lambda it: it // 10)], INTS),
]  # fmt: skip


def _nested(inner: tuple[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    kind: Any
    kind, values = inner
    return st.sampled_from(
        [
            (list[kind], st.lists(values, max_size=3)),
            (tuple[kind, ...], st.lists(values, max_size=2).map(tuple)),
            (kind | None, st.none() | values),
            (dict[str, kind], st.dictionaries(TEXTS, values, max_size=2)),
            (dict[int, kind], st.dictionaries(INTS, values, max_size=2)),
        ]
    )


KINDS = st.sampled_from(SIMPLE) | st.sampled_from(SIMPLE).flatmap(_nested)
FIELDS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {}, {"exclude": True}, {"alias": "Other"}, {"validation_alias": "In"}, {"serialization_alias": "Out"}]
)
CONFIGS = st.sampled_from(
    [ConfigDict(), ConfigDict(extra="forbid"), ConfigDict(extra="allow"), ConfigDict(populate_by_name=True), ConfigDict(ser_json_inf_nan="constants")]
)  # fmt: skip


def _named(order: BaseModel) -> str:
    return "SO-1"


def nothing() -> None:
    """The step."""


class Whole(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class Summing(Whole):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return 1


@st.composite
def made(draw: st.DrawFn) -> tuple[type[BaseModel], dict[str, Any]]:
    """A model, and what somebody gives for its fields."""
    fields: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 3))):
        kind, values = draw(KINDS)
        options = dict(draw(FIELDS))
        options = {key: f"{it}{number}" if isinstance(it, str) else it for key, it in options.items()}
        name = f"f{number}"
        fields[name] = (kind, Field(**options))
        given[options.get("validation_alias") or options.get("alias") or name] = draw(values)
    base = draw(st.sampled_from([Whole, Summing]))
    config = draw(CONFIGS)
    model: type[BaseModel] = create_model("Made", __base__=type("Own", (base,), {"model_config": config}), **fields)
    return model, given


def canonical(it: Any) -> Any:
    """What there is to see of a value, with the class of each part: the test's own judgement."""
    if isinstance(it, BaseModel):
        return type(it), [canonical(part) for part in (it.__dict__, it.__pydantic_private__, it.__pydantic_extra__)]
    if isinstance(it, dict):
        return dict, sorted((repr(key), canonical(part)) for key, part in it.items())
    if isinstance(it, list | tuple):
        return type(it), [canonical(part) for part in it]
    if isinstance(it, Plain | Checked | Opaque):
        return type(it), canonical({key: part for key, part in vars(it).items() if not key.startswith("__")})
    if isinstance(it, SecretStr):
        return type(it), it.get_secret_value()
    if isinstance(it, dt.datetime):
        return type(it), it.timestamp() if it.tzinfo else it.isoformat()
    return type(it), repr(it)


@settings(max_examples=250 * TIMES, deadline=None)
@given(made())
def test_a_value_is_refused_or_reads_back_equal(case: tuple[type[BaseModel], dict[str, Any]]) -> None:
    """Never anything else: what a step gets is what was accepted."""
    assert _end_of(*case) in {"invalid", "DefinitionError", "NotReadBack", "equal"}


@pytest.mark.parametrize(
    ("kind", "value", "end"),
    [
        (int, "x", "invalid"),
        (SecretStr, SecretStr("x"), "DefinitionError"),
        (Part, Wide(sku="x"), "NotReadBack"),
        (list[Part], [Part(sku="x")], "equal"),
    ],
)
def test_each_way_is_gone(kind: Any, value: Any, end: str) -> None:
    """The models above are neither all refused nor all plain."""
    assert _end_of(create_model("Made", __base__=Summing, f0=(kind, ...)), {"f0": value}) == end


def _end_of(model: type[BaseModel], values: dict[str, Any]) -> str:
    try:
        order = model(**values)
    except ValueError:
        return "invalid"
    try:
        saga = Saga("made", 1, model, _named, [readonly(nothing)])
        new = new_saga(saga, order, MemoryStore(), environment="test", tenant="test")
    except (DefinitionError, NotReadBack) as error:
        return type(error).__name__
    accepted = decode(new.first_entry(1).body)[0]
    assert isinstance(accepted, SagaAccepted)
    assert canonical(model.model_validate_json(accepted.input.data)) == canonical(order)
    return "equal"
