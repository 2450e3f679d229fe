"""Processor time of `saga --version`, `saga --help` and `saga list --help` beside `python -c "import typer"`, which no command line on typer undercuts.

All are started in turn in every round, so that a machine that is busy is busy for each; the least of the rounds counts. Only
ratios within one run count. `--check`: exit code 1 when a ratio is above what it may be.

    python benchmarks/start.py --rounds 10
    python benchmarks/start.py --rounds 10 --check
"""

import argparse
import os
import subprocess
import sys

STARTS = {
    "import typer": ["-c", "import typer"],
    "saga --version": ["-m", "saga", "--version"],
    "saga --help": ["-m", "saga", "--help"],
    "saga list --help": ["-m", "saga", "list", "--help"],
}
BASE = "import typer"
HELD = {"saga --version": 2.5, "saga --help": 2.5, "saga list --help": 7.0}
"""The ratio that each may have. Measured: 1.1, 1.1 and 4.3; with everything imported all were above 12."""


def cpu_s(arguments: list[str]) -> float:
    """User and system time of one process, as its parent is told."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return used.ru_utime + used.ru_stime


def measured(rounds: int, names: tuple[str, ...] = tuple(STARTS)) -> dict[str, float]:
    """The least processor time of each start, in seconds. The first round fills the caches and is not counted."""
    found = [{name: cpu_s(STARTS[name]) for name in names} for _ in range(rounds + 1)][1:]
    return {name: min(one[name] for one in found) for name in names}


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--check", action="store_true", help="exit code 1 when a ratio is above what it may be")
    options = parser.parse_args()
    found = measured(options.rounds)
    for name, seconds in found.items():
        print(f"{name:<18} {seconds:6.3f} s   {seconds / found[BASE]:5.2f}")
    if options.check and any(found[name] / found[BASE] > most for name, most in HELD.items()):
        sys.exit(1)


if __name__ == "__main__":
    main()
