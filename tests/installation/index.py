"""An index of packages that a test fills with wheels of its own, and environments with one installer each."""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import uv

ROOT = Path(__file__).resolve().parents[2]
INSTALLERS = ("pip of ensurepip", "pip of the lock", "uv")


class Index:
    """A folder `simple/NAME/WHEEL`: the listing that http.server makes of it is what an index answers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, version: str, *metadata: str) -> str:
        """Publish a release with these lines of metadata; its line in a lock."""
        info = f"{name}-{version}.dist-info"
        parts = {
            f"{name}.py": f"version = {version!r}\n",
            f"{info}/METADATA": "\n".join(
                ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata, ""]
            ),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        parts[f"{info}/RECORD"] = "".join(f"{part},,\n" for part in [*parts, f"{info}/RECORD"])
        wheel = self.path / "simple" / name / f"{name}-{version}-py3-none-any.whl"
        wheel.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel, "w") as archive:
            for part, text in parts.items():
                archive.writestr(part, text)
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"

    @contextmanager
    def served(self) -> Iterator[str]:
        """Its address, while it answers."""
        serving = partial(_Quiet, directory=str(self.path))
        with ThreadingHTTPServer(("127.0.0.1", 0), serving) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}/simple/"
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Nothing: a page that is not there is an answer like another."""


def prepare(installer: str, folder: Path) -> dict[str, str]:
    """Make what `requirements/install` shall find in `folder/venv`, and the variables under which it finds nothing else."""
    commands = folder / "commands"
    commands.mkdir()
    (commands / "python3").symlink_to(_base_python())
    if installer != "pip of ensurepip":
        subprocess.run([_base_python(), "-m", "venv", "--without-pip", folder / "venv"], timeout=60, check=True)
    if installer == "pip of the lock":
        _copy_pip(folder / "venv")
    if installer == "uv":
        (commands / "uv").symlink_to(uv.find_uv_bin())
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return variables | {"PATH": f"{commands}:/usr/bin:/bin", "PYTHON": str(commands / "python3")}


def on_index(variables: dict[str, str], address: str, folder: Path) -> dict[str, str]:
    """The variables with this index as the only one, and without what a machine's own settings add."""
    kept = {name: value for name, value in variables.items() if not name.startswith(("PIP_", "UV_"))}
    of_pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": address, "PIP_NO_CACHE_DIR": "1"}
    of_uv = {"UV_NO_CONFIG": "1", "UV_DEFAULT_INDEX": address, "UV_CACHE_DIR": str(folder / "cache")}
    return kept | of_pip | of_uv


def install(folder: Path, variables: dict[str, str], *what: Path) -> subprocess.CompletedProcess[str]:
    """`requirements/install folder/venv WHAT...`, as the Makefile calls it."""
    return subprocess.run(
        [ROOT / "requirements/install", folder / "venv", *what],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


def versions(folder: Path) -> dict[str, str]:
    """What is installed in `folder/venv`, without the installer itself."""
    (site,) = (folder / "venv/lib").glob("python3*/site-packages")
    found = {it.name: it.version for it in importlib.metadata.distributions(path=[str(site)])}
    return {name: version for name, version in found.items() if name not in {"pip", "setuptools"}}


def _base_python() -> str:
    """The interpreter under the virtual environment of this process."""
    return os.path.realpath(sys.executable)


def _copy_pip(venv: Path) -> None:
    """The pip of this process's environment, which is that of the lock."""
    (site,) = venv.glob("lib/python3*/site-packages")
    own = importlib.metadata.distribution("pip")
    for part in ("pip", f"pip-{own.version}.dist-info"):
        shutil.copytree(str(own.locate_file(part)), site / part, ignore=shutil.ignore_patterns("__pycache__"))
