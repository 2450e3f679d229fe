"""The Dockerfile builds what is in this checkout, from what is locked, and leaves the rest behind."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deployment.composing import DOCKERFILE, IGNORED, ROOT, own

LOCKED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)


def instructions() -> list[list[str]]:
    """Each instruction with its words, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    return [
        [word, rest]
        for word, _, rest in (line.partition(" ") for line in text.splitlines())
        if word and not word.startswith("#")
    ]


def stages() -> list[list[list[str]]]:
    found: list[list[list[str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def said(stage: list[list[str]], word: str) -> list[str]:
    return [rest for first, rest in stage if first == word]


def copied() -> list[str]:
    """What the first stage takes out of the checkout."""
    lines = [shlex.split(rest) for rest in said(stages()[0], "COPY")]
    return [source for line in lines for source in line[:-1]]


def locked(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in LOCKED.findall(text)}


def needed(names: Iterable[str]) -> set[str]:
    """What these packages need to run here, by what is installed."""
    found: set[str] = set()
    left = [canonicalize_name(name) for name in names]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            wanted = (Requirement(it) for it in requires(name) or [])
            left += [
                canonicalize_name(it.name) for it in wanted if it.marker is None or it.marker.evaluate({"extra": ""})
            ]
    return found


def test_every_path_that_is_copied_is_there() -> None:
    """In the checkout, and let through to the build."""
    let_through = {line[1:] for line in IGNORED.read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    assert set(copied()) == let_through
    assert [path for path in copied() if not (ROOT / path).exists()] == []


def test_what_is_locked_is_what_is_installed() -> None:
    """The environment that goes into the image is made of requirements/run.txt with hashes, and of the wheel without looking
    for anything else."""
    first, second = stages()
    installs = [part for rest in said(first, "RUN") for part in rest.split(" && ") if "pip install" in part]
    into_image = [part for part in installs if part.startswith("/opt/saga/bin/pip")]
    assert into_image == [
        "/opt/saga/bin/pip install --no-deps --require-hashes -r requirements/run.txt",
        "/opt/saga/bin/pip install --no-deps --no-index dist/*.whl",
    ]
    assert [part for part in installs if part not in into_image] == [
        "pip install --no-deps --require-hashes -r requirements/build.txt"
    ]
    assert said(second, "COPY") == ["--from=build /opt/saga /opt/saga"]


def test_the_lock_has_all_that_the_wheel_wants() -> None:
    """Each dependency of pyproject.toml, and those of the Redis broker, at a version that fits and is that of dev.txt; each
    file with its hash."""
    dev = locked((ROOT / "requirements/dev.txt").read_text(encoding="utf-8"))
    text = (ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = locked(text)
    wanted = [Requirement(it) for it in [*project["dependencies"], *project["optional-dependencies"]["redis"]]]
    assert [str(it) for it in wanted if not it.specifier.contains(versions.get(canonicalize_name(it.name), "0"))] == []
    assert "redis" in versions
    assert versions.items() <= dev.items()
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert [block.partition(" ")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_what_builds_the_wheel_is_locked_too() -> None:
    """requirements/build.txt is hatchling, all that it needs, and the installer of a checkout, each at the version of dev.txt
    with its hashes."""
    text, dev = ((ROOT / f"requirements/{it}.txt").read_text(encoding="utf-8") for it in ("build", "dev"))
    names = locked(text)
    assert set(names) == needed(["hatchling"]) | {"uv"}
    assert names.items() <= locked(dev).items()
    assert text.count("--hash=sha256:") >= 2 * len(names)


def test_the_wheel_is_built_from_what_is_copied_alone(tmp_path: Path) -> None:
    """A folder with the copied paths builds a wheel that has the engine, the services and the migrations."""
    for path in copied():
        source, target = ROOT / path, tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as parts:
        names = set(parts.namelist())
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        assert b"saga = saga.surfaces.cli:main" in parts.read(entry)
    packed = {"saga": "saga", "services": "saga/_bundled/services", "migrations": "saga/_bundled/migrations"}
    for folder, inside in packed.items():
        sources = {it.relative_to(ROOT / folder).as_posix() for it in (ROOT / folder).rglob("*.py")}
        assert {f"{inside}/{source}" for source in sources} <= names


def test_the_image_runs_as_nobody_of_note() -> None:
    """A number that is not root's, the one that compose.yaml names; the program and nothing else starts."""
    second = stages()[1]
    assert said(second, "USER") == ["10001:10001"]
    assert {service["user"] for service in own().values()} == {"10001:10001"}
    assert said(second, "ENTRYPOINT") == ['["saga"]']
    assert "--uid 10001" in said(second, "RUN")[0]


@pytest.mark.parametrize("stage", stages(), ids=["build", "run"])
def test_both_stages_have_the_same_python(stage: list[list[str]]) -> None:
    """An environment is moved from one to the other; and nothing is fetched by ADD."""
    assert said(stage, "FROM")[0].split()[0] == "python:3.13-slim"
    assert said(stage, "ADD") == []
