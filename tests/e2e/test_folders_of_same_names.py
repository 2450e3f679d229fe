"""A project with a `services` and a `migrations` of its own, under the engine of the checkout and under that of the wheel."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.commands import COMMAND_S, ROOT, Finished

ORDER = '{"order_id": "SO-1", "sku": "mug", "card": "4242"}'
THEIRS = 'raise RuntimeError("a package of the project was imported in place of ours")\n'


@pytest.fixture(scope="module")
def wheel_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel and what it depends on, and without the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    venv.create(folder / "venv", symlinks=True)
    packages = next((folder / "venv").glob("lib/python*/site-packages"))
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(packages)
    # One line is a folder on the path; the .pth files in it, of which one leads to the checkout, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv" / "bin" / "python"


@dataclass(frozen=True)
class Project:
    """Where commands are typed, the Python that has the engine, and what leads to the engine besides."""

    directory: Path
    python: Path
    engine: tuple[Path, ...]

    def run(self, *arguments: str) -> Finished:
        """`saga ARGUMENTS...` to its end."""
        with self.process(*arguments) as process:
            out, err = process.communicate(timeout=COMMAND_S)
        return Finished(process.returncode, out, err)

    @contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """`saga ARGUMENTS...`; the working directory stands first on its path, and on `PYTHONPATH` before the engine."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGA_", "PYTHON"))}
        path = os.pathsep.join(map(str, (self.directory, *self.engine)))
        with subprocess.Popen(
            [str(self.python), "-m", "saga", *arguments],
            cwd=self.directory,
            env={**kept, "SAGA_HOME": str(self.directory / "home"), "PYTHONPATH": path, "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture(params=["checkout", "wheel"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    for name in ("services", "migrations"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(THEIRS)
    (folder / "shop.py").write_text((ROOT / "examples" / "shop.py").read_text())
    if request.param == "wheel":
        return Project(folder, request.getfixturevalue("wheel_python"), ())
    return Project(folder, Path(sys.executable), (ROOT,))


def test_upgrade_start_and_drain(project: Project) -> None:
    """Migrations are ours, and a definition of the project is found and ends."""
    upgraded = project.run("db", "upgrade")
    assert upgraded.code == 0, upgraded.err
    started = project.run("start", "shop:place_order", ORDER)
    assert started.code == 0, started.err
    drained = project.run("drain", "shop:place_order")
    assert drained.code == 0, drained.err
    assert json.loads(project.run("status", "-o", "json").out)["counts"]["completed"] == 1


def test_services_start_and_stop(project: Project) -> None:
    """`saga services` serves ours."""
    with project.process("services", "--port", "0") as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(4))
        process.terminate()
        assert (process.wait(COMMAND_S), said.count(" http://")) == (0, 4), said


def test_the_wheel_holds_one_name(wheel_python: Path) -> None:
    """`services` and `migrations` at the top of site-packages would be found by every program of that Python."""
    installed = next(wheel_python.parents[1].glob("lib/python*/site-packages"))
    assert {it.name for it in installed.iterdir() if it.is_dir() and not it.name.endswith(".dist-info")} == {"saga"}


def test_demo(project: Project) -> None:
    """The services are ours, in a process whose path has the project's first."""
    done = project.run("demo", "--orders", "20", "-o", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["violations"] == 0
