"""A program that is run by its path: `python -P services_program.py PLACE WORDS...` is `python -m services WORDS...`.

The package `services` is the one that lies in the folder PLACE, whatever else is called so: the working directory, a
`PYTHONPATH` and an installed distribution may each have one. With `-P` the working directory is not on the path at all.

This file imports nothing of `saga` before `run`: a checkout that is not installed is found only by what is put on the path
there, and last, so that it hides nothing.
"""

import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

NAME = "services"


def run(place: Path, words: list[str]) -> None:
    """Be `python -m services WORDS...`; ends as that does, by `SystemExit`."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    spec = spec_from_file_location(NAME, place / "__init__.py", submodule_search_locations=[str(place)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[NAME] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
    sys.argv = [NAME, *words]
    runpy.run_module(NAME, run_name="__main__")


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
