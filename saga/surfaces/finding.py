"""Finds definitions by their names, `package.module:name`, and says what to type when there is none.

The order of looking: what was named on the command line; else `[tool.saga] definitions = [...]` of the working directory's
pyproject.toml; else the product's own `fulfil_order` and `return_order`. The working directory is put on the path of imports, as
`python -m` does, so that `saga dev shop:place_order` finds the `shop.py` one stands beside.
"""

import importlib
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saga.core.definition import Saga
from saga.errors import DefinitionError, UsageError
from saga.words import words_of

DEFAULT = ("saga.fulfilment.fulfil_order:fulfil_order", "saga.fulfilment.return_order:return_order")
EXAMPLE = "shop:place_order finds place_order in shop.py"


def find_definitions(names: Sequence[str], directory: Path) -> list[Saga[Any]]:
    """The definitions that a process works on. Raises `UsageError` or `DefinitionError` with what to type instead."""
    wanted = tuple(names) or _from_project(directory) or DEFAULT
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    return [find_definition(name) for name in dict.fromkeys(wanted)]


def find_definition(name: str) -> Saga[Any]:
    """The definition called `name`. Raises `UsageError` when it is not there and `DefinitionError` when it cannot run."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise UsageError(f"{name!r} does not name a definition; write MODULE:NAME, as in {EXAMPLE}")
    module = _import(module_name)
    found = getattr(module, attribute, None)
    if isinstance(found, Saga):
        return found
    has = ", ".join(f"{module_name}:{key}" for key, value in vars(module).items() if isinstance(value, Saga)) or "none"
    what = f"{module_name} holds no {attribute}"
    if found is not None:
        what = f"{module_name}:{attribute} is of type {type(found).__name__} and no saga"
    raise UsageError(f"{what}; definitions in it: {has}")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (DefinitionError, KeyboardInterrupt):
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"no module {name}: stand beside its file, or install its package ({EXAMPLE})") from error
        raise UsageError(f"{name} imports {error.name}, which is not installed here") from error
    except BaseException as error:  # the user's module runs, and may be a script that ends its process
        raise UsageError(f"{name} cannot be imported: {words_of(error)}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where in the user's file it was raised: the innermost frame outside the import machinery."""
    trace = error.__traceback__
    places = []
    while trace is not None:
        places.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    own = [place for place in places if not place[0].startswith("<frozen") and "importlib" not in place[0]][1:]
    return f" ({own[-1][0]}:{own[-1][1]})" if own else ""


def _from_project(directory: Path) -> tuple[str, ...]:
    path = directory / "pyproject.toml"
    if not path.is_file():
        return ()
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    names = project.get("tool", {}).get("saga", {}).get("definitions", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(
            f'{path}: [tool.saga] definitions must be a list such as ["shop:place_order"]; it is {names!r}'
        )
    return tuple(names)
