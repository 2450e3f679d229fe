"""Random fleets from printed seeds: the production driver keeps every invariant, and what was promised ends."""

import os

import pytest

from tests.simulation.sagas import SAGAS
from tests.simulation.world import World

SEEDS = range(
    int(os.environ.get("SAGA_SIMULATION_FIRST", "1")), 1 + int(os.environ.get("SAGA_SIMULATION_SEEDS", "150"))
)
BATCH = 25


@pytest.mark.parametrize("first", range(SEEDS.start, SEEDS.stop, BATCH))
def test_every_saga_ends_where_the_script_says(first: int) -> None:
    """Under lost, doubled and late messages and calls, crashes and unknown commits, from one seed each."""
    faults: dict[str, int] = {}
    for seed in range(first, min(first + BATCH, SEEDS.stop)):
        world = World(seed, SAGAS)
        try:
            world.run()
            world.check()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        for kind, count in world.faults.items():
            faults[kind] = faults.get(kind, 0) + count
    kinds = {
        "crash_with_open_attempt",
        "late",
        "doubled",
        "lost_after",
        "lost_before",
        "not_sent",
        "commit_outcome_unknown",
    }
    assert kinds <= {kind for kind, count in faults.items() if count >= 3}, f"too few faults fired: {faults}"
