"""This checkout beside an earlier revision of it, in turn: what a change costs.

Each round runs `benchmarks/throughput.py` of both checkouts once, in turn, with the Python that runs this; medians of the rounds,
and of the ratios within a round. The earlier checkout is made beside this one by git and removed at the end.

    python -m benchmarks.against HEAD~3 --rounds 5 --sagas 3000
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parents[1]
FIGURES = ("sagas_per_s", "cpu_ms_per_saga")


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "earlier"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, revision], cwd=HERE, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=HERE, check=True)


def measured(tree: Path, sagas: int) -> dict[str, float]:
    """One round of the process driver."""
    command = [
        sys.executable,
        "benchmarks/throughput.py",
        "--peers",
        "process",
        "--rounds",
        "1",
        "--single",
        "1",
        "--json",
    ]
    done = subprocess.run(
        [*command, "--sagas", str(sagas)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)["process"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sagas", type=int, default=3000)
    options = parser.parse_args()
    with checkout(options.revision) as earlier:
        rounds = [
            (measured(earlier, options.sagas), measured(HERE, options.sagas)) for _ in range(max(1, options.rounds))
        ]
    for figure in FIGURES:
        before, after = ([each[side][figure] for each in rounds] for side in (0, 1))
        ratios = [late / early for early, late in zip(before, after, strict=True)]
        print(
            f"{figure:16} before {statistics.median(before):8.2f}   after {statistics.median(after):8.2f}   "
            f"after/before {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
