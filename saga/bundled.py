"""Where the parts lie that ship with the engine and are never imported by it: `migrations` and `services`.

They are found by the place of this package and not by their names. A project of a user may well have folders that are
called so, and its directory stands first on the path of imports. A wheel holds them in `saga/_bundled`, which nobody else
uses; in a checkout they are beside `saga`.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def place_of(name: str, package: Path = PACKAGE) -> Path:
    """The folder of the part called `name` that came with `package`."""
    inside = package / "_bundled" / name
    return inside if inside.is_dir() else package.parent / name
