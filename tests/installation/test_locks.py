"""A lock is installed as it stands, whoever installs it and whatever the index has since; and what it forgot is found.

The index is the test's own. The releases are those of the day when pip 23.2 refused our lock: `measuring` asks for
`cover[toml]`, and a newer `cover` came out.
"""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.installation.index import INSTALLERS, ROOT, Index, install, on_index, prepare, versions

INSTALLS = re.compile(r"(?:pip|pip_or_uv) install [^&;]*")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("installer", INSTALLERS)
def test_a_lock_is_installed_as_it_stands(installer: str, tmp_path: Path) -> None:
    """With newer releases in the index each package has the version of the lock; without one of them it is named."""
    index, variables = Index(tmp_path / "index"), prepare(installer, tmp_path)
    lines = [
        index.add("measuring", "1", "Requires-Dist: cover[toml]>=1"),
        index.add("cover", "1", "Provides-Extra: toml", 'Requires-Dist: reading>=1; extra == "toml"'),
        index.add("reading", "1"),
    ]
    index.add("cover", "2", "Provides-Extra: toml", 'Requires-Dist: reading>=2; extra == "toml"')
    index.add("reading", "2")
    whole, lacking = tmp_path / "whole.txt", tmp_path / "lacking.txt"
    whole.write_text("".join(lines), encoding="utf-8")
    lacking.write_text(lines[0], encoding="utf-8")
    with index.served() as address:
        variables = on_index(variables, address, tmp_path)
        refused = install(tmp_path, variables, lacking)
        assert refused.returncode != 0
        assert re.search(r"measuring.*requires.*cover", refused.stdout), refused.stdout
        assert versions(tmp_path) == {"measuring": "1"}
        taken = install(tmp_path, variables, whole)
        assert taken.returncode == 0, taken.stdout
    assert versions(tmp_path) == {"measuring": "1", "cover": "1", "reading": "1"}
    assert ("pip tries" in taken.stdout) is False


def test_a_file_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    """The same release with other bytes is not installed: neither by uv nor by the pip that tries after it."""
    index, variables = Index(tmp_path / "index"), prepare("uv", tmp_path)
    lock = tmp_path / "lock.txt"
    lock.write_text(index.add("cover", "1"), encoding="utf-8")
    index.add("cover", "1", "Summary: not what was locked")
    with index.served() as address:
        refused = install(tmp_path, on_index(variables, address, tmp_path), lock)
    assert refused.returncode != 0
    assert versions(tmp_path) == {}


@pytest.mark.parametrize("path", ["requirements/install", "Makefile", "Dockerfile", ".ci/run"])
def test_nothing_that_installs_resolves(path: str) -> None:
    """Each installation in the checkout is one without dependencies: of a lock by its hashes, of our own wheel or checkout
    without the index."""
    found = [it for line in (ROOT / path).read_text(encoding="utf-8").splitlines() for it in INSTALLS.findall(line)]
    assert bool(found) is (path in {"requirements/install", "Dockerfile"})
    for it in found:
        assert "--no-deps" in it
        assert any(option in it for option in ("--require-hashes -r", "--no-build-isolation -e", "--no-index"))


@pytest.mark.parametrize(("target", "locks"), [("demo", {"build", "run"}), ("test", {"build", "run", "dev"})])
def test_a_target_installs_what_it_needs(target: str, locks: set[str], tmp_path: Path) -> None:
    """`make demo` on a bare machine installs what runs and no tool of the tests, which `make test` adds."""
    command = ["make", "-n", target, f"VENV={tmp_path / 'venv'}", "MAKEFLAGS="]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout
    assert set(re.findall(r"requirements/(\w+)\.txt", shown)) == locks


def test_the_lowest_releases_that_are_allowed_are_those_of_the_matrix() -> None:
    """Whoever installs a lower bound has what `make matrix` runs on: each bound is the release in requirements/lowest.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(it for extra in project["optional-dependencies"].values() for it in extra)]
    allowed = {
        it.name: [Version(one.version) for one in it.specifier if one.operator == ">="]
        for it in map(Requirement, lines)
    }
    lock = (ROOT / "requirements/lowest.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", lock))
    assert allowed == {name: [Version(pinned[name])] for name in allowed}
