"""`saga dev` hears at once what another process of the same home starts; no broker, no server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

import pytest

from saga.runtime.starting import start_and_hint
from saga.settings import Settings
from saga.surfaces.cli.ordering import hinted_intake
from saga.surfaces.finding import find_definitions
from tests.e2e.commands import ROOT, Place
from tests.waiting import wait_until

EXAMPLES = ROOT / "examples"
SHOP = "shop:place_order"
STARTS = 25
AT_ONCE_MS = 50.0
"""To the claim of the first step, at the median."""
MEASUREMENTS = 2
"""On a machine with other work the better of two counts."""
BEFORE_THE_DUE_INDEX_MS = 1500.0


def _ms(duration: timedelta) -> float:
    return duration / timedelta(milliseconds=1)


class Seller:
    """Starts orders as `saga start` does, without a process for each."""

    def __init__(self, home: Path) -> None:
        self.saga = find_definitions([SHOP], EXAMPLES)[0]
        self.settings = Settings(home=home)
        self.count = 0

    @contextmanager
    def selling(self) -> Iterator["Seller"]:
        with hinted_intake(self.settings, self.saga) as (self.intake, self.hints):
            yield self

    def first_claim_after_ms(self) -> float:
        """From the commit of one more order to the claim of its first step in the journal."""
        self.count += 1
        order = self.saga.input.model_validate({"order_id": f"SO-{self.count}", "sku": "mug", "card": "4242"})
        store = self.intake.store
        started = start_and_hint(self.intake.starter, self.saga, order, self.hints)
        committed_at = store.now()
        wait_until(lambda: len(store.load([started.saga_id])[started.saga_id]) > 1, 30, what="the first step's claim")
        return _ms(store.load([started.saga_id])[started.saga_id][1].at - committed_at)


def at_the_median_ms(seller: Seller, count: int) -> float:
    """Measured again, once, when it was too much."""
    found_ms = float("inf")
    for _ in range(MEASUREMENTS):
        found_ms = min(found_ms, median(seller.first_claim_after_ms() for _ in range(count)))
        if found_ms <= AT_ONCE_MS:
            break
    return found_ms


@pytest.mark.timeout(180)
def test_what_another_process_starts_is_heard_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The median of 25 starts is printed and at most 50 ms; the due index has a saga after two seconds. So it is again after a
    kill -9, which leaves the socket's file behind."""
    place, seller = Place(EXAMPLES, tmp_path / "home"), Seller(tmp_path / "home")
    with place.running(["dev", SHOP], "ready", timeout_s=90) as dev, seller.selling():
        p50_ms = at_the_median_ms(seller, STARTS)
        with capsys.disabled():
            print(f"\nfrom commit to the first claim, {STARTS} starts: p50 {p50_ms:.1f} ms")
        assert p50_ms <= AT_ONCE_MS
        dev.kill()
        dev.wait()
    assert (tmp_path / "home" / "hints.sock").is_socket()
    with place.running(["dev", SHOP], "ready", timeout_s=90), seller.selling():
        assert at_the_median_ms(seller, 5) <= AT_ONCE_MS


@pytest.mark.timeout(180)
def test_saga_start_is_heard_at_once(tmp_path: Path) -> None:
    """The command itself: what its journal says, from its acceptance to the first claim."""
    place = Place(EXAMPLES, tmp_path / "home")
    with place.running(["dev", SHOP], "ready", timeout_s=90):
        order = json.dumps({"order_id": "SO-1", "sku": "mug", "card": "4242"})
        started = place.run("start", SHOP, order, "--wait", "--timeout", "60")
        assert started.code == 0, started.err
    seller = Seller(tmp_path / "home")
    with seller.selling():
        saga_id = started.out.split()[0]
        entries = seller.intake.store.load([saga_id])[saga_id]
    assert _ms(entries[1].at - entries[0].at) < BEFORE_THE_DUE_INDEX_MS
