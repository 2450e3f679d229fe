"""Definitions are found by name, and every mistake says what to type."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from saga.errors import DefinitionError, UsageError
from saga.surfaces.cli.commands import app
from saga.surfaces.finding import find_definitions

SHOP = (Path(__file__).resolve().parents[3] / "examples" / "shop.py").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory; what is imported from it is forgotten afterwards."""
    path, before = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_by_argument_by_project_by_default(folder: Path) -> None:
    """The command line goes before pyproject.toml, which goes before the product's own; a name given twice counts once."""
    (folder / "found_shop.py").write_text(SHOP)
    assert [saga.name for saga in find_definitions([], folder)] == ["fulfil_order", "return_order"]
    (folder / "pyproject.toml").write_text('[tool.saga]\ndefinitions = ["found_shop:place_order"]\n')
    assert [saga.name for saga in find_definitions([], folder)] == ["place_order"]
    twice = ["saga.fulfilment.fulfil_order:fulfil_order"] * 2
    assert [saga.name for saga in find_definitions(twice, folder)] == ["fulfil_order"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nowhere_at_all", "imports nowhere_at_all, which is not installed here"),
        ("x = (", "SyntaxError"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", r"ZeroDivisionError: division by zero \(.*broken_module.py:2\)"),
        (
            'raise BaseException("zz")\n',
            r"broken_module cannot be imported: BaseException: zz \(.*broken_module.py:1\)",
        ),
        (
            "class Dumb(BaseException):\n    def __str__(self):\n        raise Dumb\n\n\nraise Dumb\n",
            r"cannot be imported: Dumb: \(its __str__ raised Dumb\) \(.*broken_module.py:6\)",
        ),
        ("place_order = 7", "broken_module:place_order is of type int and no saga; definitions in it: none"),
        ("", "holds no place_order; definitions in it: none"),
    ],
)
def test_a_module_that_is_wrong(folder: Path, text: str, says: str) -> None:
    """The user's module fails in its own way, and the message points into it."""
    (folder / "broken_module.py").write_text(text)
    with pytest.raises(UsageError, match=says):
        find_definitions(["broken_module:place_order"], folder)


RAISING = """
from pydantic import field_validator

class Wanted(BaseModel):
    order_id: str

    @field_validator("order_id")
    @classmethod
    def looked_up(cls, order_id):
        if order_id == "v":
            raise LookupError("no price")
        return order_id

def entity(order):
    if order.order_id == "e":
        raise SystemExit("no name")
    return order.order_id

def pay(order: Wanted) -> None: ...

raising = Saga("raising", version=1, input=Wanted, entity=entity, steps=[pivot(pay, on_unknown="halt")])
"""


@pytest.mark.parametrize(
    ("order_id", "says"),
    [
        ("v", "saga raising: the model of its input raised LookupError: no price (raising_shop.py:"),
        ("e", "saga raising: entity raised SystemExit: no name (raising_shop.py:"),
    ],
)
def test_what_the_users_code_raises_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, order_id: str, says: str
) -> None:
    """`saga start` names the saga, what was raised and where, and stores nothing."""
    head = "from pydantic import BaseModel\nfrom saga.core.definition import Saga, pivot\n"
    (folder / "raising_shop.py").write_text(head + RAISING)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SAGA_HOME", str(folder / "home"))
    done = CliRunner().invoke(app, ["start", "raising_shop:raising", json.dumps({"order_id": order_id})])
    assert isinstance(done.exception, UsageError), done.output
    assert str(done.exception).startswith(says)
    assert not (folder / "home").exists()


def test_a_definition_that_cannot_run_keeps_its_own_error(folder: Path) -> None:
    """What the definition's own checks say is not wrapped."""
    (folder / "unrunnable.py").write_text(SHOP.replace('name="charge_card"', 'name="reserve_stock"'))
    with pytest.raises(DefinitionError, match="two steps are called reserve_stock"):
        find_definitions(["unrunnable:place_order"], folder)


@pytest.mark.parametrize("name", ["", "shop", "shop:", ":place_order", "sh op:x", "../shop:x", "shop.py:x y:"])
def test_a_name_that_names_nothing(folder: Path, name: str) -> None:
    """Whatever was typed, the message shows a name that works."""
    with pytest.raises(UsageError, match=r"shop:place_order finds place_order in shop\.py|no module"):
        find_definitions([name], folder)


@pytest.mark.parametrize("text", ["[tool.saga]\ndefinitions = 7\n", "[tool.saga]\ndefinitions = [7]\n", "nonsense"])
def test_a_project_file_that_is_wrong(folder: Path, text: str) -> None:
    """pyproject.toml is named."""
    (folder / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        find_definitions([], folder)
