"""Takes each protection out of a copy of the checkout, one at a time, and sees a named test fail.

    python -m tests.mutants                          every mutant of `tests.mutants.table`
    python -m tests.mutants epoch-check no-tombstone    these two
    python -m tests.mutants --jobs 4 -o json

Rules of this file
------------------
- The checkout itself is never changed. A job has a copy of it (`git ls-files`, contents of the working tree) in a temporary
  folder, and runs pytest there; which `saga` was imported is checked in every run, since the installed one is that of
  the checkout.
- First every named test must pass in a copy without a mutant. One that is skipped, for want of a server, proves nothing and
  ends the run.
- A mutant is killed when each test that it names fails. An error of import, of collection or of a fixture is no kill, and
  neither is a test that fails beside those that are named.

Exit code 0 when every mutant was killed, 1 when one survived or is out of date, 2 for a name that is not in the table.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from saga.clock import monotonic
from tests.mutants.mutant import ROOT, Mutant, applied, fault_of
from tests.mutants.table import MUTANTS

TEST_S = 60
"""A mutant may make a test wait for ever; then it fails after so many seconds."""
RUN_S = 300.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What one run of pytest came to."""

    code: int
    saga: str = ""
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    output: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant; `why` is empty when it was killed."""

    mutant: str
    trace: str
    killed_by: list[str]
    seconds: float
    why: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    mutants = [it for it in MUTANTS if not options.names or it.name in options.names]
    if faults := [fault for it in mutants if (fault := fault_of(it))]:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="saga-mutants-") as folder:
        copies = [copy_of(ROOT, Path(folder) / str(number)) for number in range(options.jobs)]
        if complaint := first_complaint(copies, sorted({node for it in mutants for node in it.killed_by})):
            print(complaint, file=sys.stderr)
            return 1
        verdicts = try_all(copies, mutants, _tell if options.output == "table" else lambda _verdict: None)
    if options.output == "json":
        print(json.dumps([asdict(it) for it in verdicts], indent=1))
    else:
        _sum_up(verdicts)
    return 1 if any(it.why for it in verdicts) else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to try; without a name every one")
    parser.add_argument("--jobs", type=int, default=2, help="copies that are tried at the same time (2)")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.names) - {it.name for it in MUTANTS}):
        parser.error(f"no mutant is called {', '.join(unknown)}; they stand in tests/mutants/table.py")
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    return options


def copy_of(root: Path, folder: Path) -> Path:
    """What a commit of everything in the working tree would hold, in `folder`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    return folder


def run_tests(copy: Path, node_ids: Iterable[str]) -> Ended:
    """Run these tests of a copy with the copy's own `saga`."""
    report = copy / ".mutant-report.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p"]
    command += ["tests.mutants.reporting", f"--mutant-report={report}", f"--timeout={TEST_S}", *node_ids]
    env = {**os.environ, "PYTHONPATH": str(copy), "SAGA_HYPOTHESIS": "repeatable", "COLUMNS": "200"}
    with subprocess.Popen(
        command, cwd=copy, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Ended(-signal.SIGKILL, output=f"no end after {RUN_S:g} s")
    said: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
    return Ended(process.returncode, output=output, **said)


def first_complaint(copies: Sequence[Path], node_ids: Sequence[str]) -> str | None:
    """Why the named tests prove nothing: one of them does not pass without a mutant; None when all of them do."""
    shares = [(copy, node_ids[number :: len(copies)]) for number, copy in enumerate(copies)]
    with ThreadPoolExecutor(len(copies)) as pool:
        runs = list(pool.map(lambda share: run_tests(*share) if share[1] else Ended(0), shares))
    for (copy, share), ended in zip(shares, runs, strict=True):
        if share and (why := _unsound(ended, copy)):
            return f"{why}\n{ended.output}"
        if ended.code:
            return f"without a mutant the tests must pass:\n{ended.output}"
        if ended.skipped:
            return f"skipped, so nothing is proved: {', '.join(ended.skipped)}\n{ended.output}"
        if missing := [node_id for node_id in share if not _cases(node_id, ended.passed)]:
            return f"did not run: {', '.join(missing)}\n{ended.output}"
    return None


def try_all(copies: Sequence[Path], mutants: Sequence[Mutant], tell: Callable[[Verdict], None]) -> list[Verdict]:
    """Try every mutant, as many at a time as there are copies; answers in the order of the table."""
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def try_one(mutant: Mutant) -> Verdict:
        copy, began = free.get(), monotonic()
        try:
            with applied(mutant, copy):
                ended = run_tests(copy, mutant.killed_by)
        finally:
            free.put(copy)
        why = why_it_lives(mutant, ended, copy)
        return Verdict(mutant.name, mutant.trace, ended.failed, round(monotonic() - began, 1), why)

    verdicts = []
    with ThreadPoolExecutor(len(copies)) as pool:
        for verdict in pool.map(try_one, mutants):
            tell(verdict)
            verdicts.append(verdict)
    return verdicts


def why_it_lives(mutant: Mutant, ended: Ended, copy: Path) -> str:
    """Empty when the mutant was killed, that is when every test that it names failed."""
    if why := _unsound(ended, copy):
        return f"{why}\n{ended.output[-2000:]}"
    if survived := [node_id for node_id in mutant.killed_by if not _cases(node_id, ended.failed)]:
        broken = f"; broken around the test: {', '.join(ended.broken)}" if ended.broken else ""
        return f"survived {', '.join(survived)}{broken}"
    return ""


def _unsound(ended: Ended, copy: Path) -> str:
    """Why a run says nothing about the copy: it came to no verdict, or it was not the copy that ran."""
    if ended.code not in (0, 1):
        return f"pytest ended with {ended.code}, which is no verdict"
    if not ended.saga.startswith(f"{copy}{os.sep}"):
        return f"the tests imported {ended.saga} and not the copy in {copy}"
    return ""


def _cases(node_id: str, ended: Iterable[str]) -> list[str]:
    return [it for it in ended if it == node_id or it.startswith(f"{node_id}[")]


def _tell(verdict: Verdict) -> None:
    killed = verdict.killed_by[0].rpartition("/")[2] if verdict.killed_by else "-"
    more = f" and {len(verdict.killed_by) - 1} more" if len(verdict.killed_by) > 1 else ""
    print(
        f"{verdict.mutant:36} {'SURVIVED' if verdict.why else killed + more:100} {verdict.seconds:6.1f} s", flush=True
    )
    if verdict.why:
        print(f"    {verdict.why}\n    {verdict.trace}", flush=True)


def _sum_up(verdicts: Sequence[Verdict]) -> None:
    survivors = [it.mutant for it in verdicts if it.why]
    print(f"{len(verdicts)} mutants, {len(verdicts) - len(survivors)} killed, {len(survivors)} survived")
    if survivors:
        print(f"survived: {', '.join(survivors)}")


if __name__ == "__main__":
    sys.exit(main())
