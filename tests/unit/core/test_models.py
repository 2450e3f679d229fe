"""What a model can be seen to lose through JSON, and what does not run when it is called, is refused when the saga is built."""

from functools import cache, partial
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, FilePath, Json, PastDate, Secret, computed_field

from saga.core.models import refuse_lossy
from saga.core.options import answers_at_once, why_unrun
from saga.errors import DefinitionError


class Part(BaseModel):
    hidden: int = Field(0, exclude=True)


class Whole(BaseModel):
    parts: dict[str, list[Part]] = {}


class OfTheMoment(BaseModel):
    born: list[PastDate] = []


class OnDisk(BaseModel):
    path: FilePath


class AsText(BaseModel):
    meta: Json[int]


@pytest.mark.parametrize(
    ("model", "says"), [(OfTheMoment, "born is a PastDate"), (OnDisk, "path is a PathType"), (AsText, "meta is a Json")]
)
def test_what_cannot_be_read_later_is_refused(model: type[BaseModel], says: str) -> None:
    """A later step or a rollback reads it. A Json comes back from a journal, and not from what is sent."""
    with pytest.raises(DefinitionError, match=says):
        refuse_lossy(model, "its request", is_sent=True)
    if model is AsText:
        refuse_lossy(model, "its input")


class Forbids(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return 1


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=False)
    n: int = Field(0, validation_alias="N")


class Hides(BaseModel):
    number: dict[str, Secret[int]] = {}


class Odd(BaseModel):
    n: int = Field(0, validation_alias="N", serialization_alias="M")


@pytest.mark.parametrize(
    ("model", "is_sent", "says"),
    [
        (Whole, False, "Part.hidden has exclude=True"),
        (Forbids, True, "Forbids.total is computed and sent"),
        (Hides, False, "Hides.number is a Secret, whose JSON"),
        (Odd, False, "Odd.n is written as 'M' and read as 'N'"),
        (Forbids, False, None),
        (ByName, True, None),
        (int, False, None),
    ],
)
def test_a_field_that_cannot_come_back_is_named(model: type[Any], is_sent: bool, says: str | None) -> None:
    """However deep it stands; a class that is no model of pydantic is left to the value."""
    if says is None:
        refuse_lossy(model, "it", is_sent=is_sent)
        return
    with pytest.raises(DefinitionError, match=says):
        refuse_lossy(model, "it", is_sent=is_sent)


class Later:
    async def __call__(self) -> None: ...


async def later() -> None: ...


@cache
def kept() -> None: ...


def plain() -> None: ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (plain, ""),
        (partial(plain), ""),
        (later, "nothing of an async function"),
        (partial(later), "nothing of an async function"),
        (Later(), "nothing of an async function"),
        (Later, "a class makes an object"),
        (kept, "keeps its answers"),
    ],
)
def test_what_does_not_run_its_body_is_seen(function: object, why: str) -> None:
    """In whatever disguise."""
    assert why in why_unrun(function)
    assert bool(why) == bool(why_unrun(function))


@cache
async def kept_later() -> int:
    return 1


@pytest.mark.parametrize(
    ("function", "does"), [(plain, True), (kept, True), (kept_later, False), (later, False), ("no function", False)]
)
def test_what_answers_at_once_is_seen(function: object, does: bool) -> None:
    """What keeps its answers does, and an async function does not, whoever keeps them; what cannot be called does not."""
    assert answers_at_once(function) is does
