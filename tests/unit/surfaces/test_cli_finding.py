"""Definitions are found by name, and every mistake says what to type."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from saga.errors import DefinitionError, UsageError
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
        ("place_order = 7", "broken_module:place_order is of type int and no saga; definitions in it: none"),
        ("", "holds no place_order; definitions in it: none"),
    ],
)
def test_a_module_that_is_wrong(folder: Path, text: str, says: str) -> None:
    """The user's module fails in its own way, and the message points into it."""
    (folder / "broken_module.py").write_text(text)
    with pytest.raises(UsageError, match=says):
        find_definitions(["broken_module:place_order"], folder)


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
