"""Commands in processes that are forked from one which has imported them already: a second of processor time less for each.

The forked process becomes the command as a shell would start it: directory, environment, arguments, the three streams; it runs
`saga.surfaces.cli.main` and ends with its exit code. What a fresh interpreter would read from its environment at its start
(`PYTHON...`, the locale) it cannot become, so `fits` says which commands need a fresh one.
"""

import importlib
import io
import multiprocessing
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

OF_AN_INTERPRETER = ("PYTHON", "LC_", "LANG", "COLUMNS", "FORCE_COLOR", "TERM")
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.e2e.warm_imports"])


def import_all() -> None:
    """What any command may import."""
    import saga.surfaces.cli as commands

    for found in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
        importlib.import_module(found.name)


def fits(more: Mapping[str, str]) -> bool:
    """Whether a forked process can be what these variables ask for."""
    return not any(name.startswith(OF_AN_INTERPRETER) for name in more)


def run(
    arguments: Sequence[str], directory: Path, environment: Mapping[str, str], given: str, timeout_s: float
) -> tuple[int, str, str]:
    """Exit code, output and errors. Raises `subprocess.TimeoutExpired`; the process is killed then."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("in", "out", "err")]
        streams[0].write_text(given, encoding="utf-8")
        process = SERVER.Process(target=_be, args=(list(arguments), str(directory), dict(environment), streams))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["saga", *arguments], timeout_s)
        out, err = (stream.read_bytes().decode() for stream in streams[1:])
        return process.exitcode, out, err


def _be(arguments: list[str], directory: str, environment: dict[str, str], streams: list[Path]) -> None:
    for number, (stream, flags) in enumerate(zip(streams, (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)):
        opened = os.open(stream, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = ["saga", *arguments]
    sys.path[:] = [directory, *environment.get("PYTHONPATH", "").split(os.pathsep), *sys.path]
    from saga.surfaces.cli import main

    main()
