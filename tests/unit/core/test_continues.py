"""A new version that runs the sagas of the one before: the same steps under the fingerprint that is stored."""

from typing import Any

import pytest

from saga.core.definition import Saga
from saga.errors import DefinitionError
from saga.runtime.engine import Definitions
from saga.store.memory import MemoryStore
from tests.unit.core.shop import Order, step

BEFORE = "ab" * 32


def saga(continues: Any, version: int = 3) -> Saga[Order]:
    return Saga("shop", version, Order, lambda order: order.order_id, [step("a"), step("b")], continues=continues)


def test_the_version_before_comes_with_it() -> None:
    """By its stored fingerprint and by these steps; the new version has its own."""
    new = saga({1: BEFORE, 2: "cd" * 32})
    definitions = Definitions([new])
    assert definitions.latest("shop") is new
    assert definitions.versions == (("shop", 3), ("shop", 1), ("shop", 2))
    old = definitions.get("shop", 1)
    assert old is not None
    assert (old.fingerprint, old.order, old.earlier) == (BEFORE, new.order, ())
    assert new.fingerprint == saga({}).fingerprint
    assert list(Definitions([new, new])) == list(definitions)


@pytest.mark.parametrize(
    "continues", [{3: BEFORE}, {4: BEFORE}, {0: BEFORE}, {1: "ab"}, {1: None}, {"1": BEFORE}, [1], None]
)
def test_what_can_be_continued(continues: Any) -> None:
    """An earlier version and a fingerprint, or the definition says what to write."""
    with pytest.raises(DefinitionError, match="continues"):
        saga(continues)


def test_what_is_refused_goes_with_what_it_continues() -> None:
    """Else new sagas would be of the version before, which a process of the release before would take for its own."""
    store, definitions = MemoryStore(), Definitions([saga({1: BEFORE, 2: "cd" * 32})])
    store.register_definition("shop", 3, "ef" * 32)
    assert [(it.definition, it.version) for it in definitions.register(store)] == [("shop", 3)]
    assert list(definitions) == []


def test_two_definitions_of_one_version_are_refused() -> None:
    """Whether one comes by itself or behind a later one."""
    with pytest.raises(DefinitionError, match="two definitions are called shop v1"):
        Definitions([saga({1: BEFORE}), saga({}, version=1)])
