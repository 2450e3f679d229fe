"""The example in README: one file, two commands, two ends."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.commands import ROOT, Place, stop

SHOP = ROOT / "examples" / "shop.py"
LINES_MAX = 25


def order(order_id: str, card: str, sku: str = "mug") -> str:
    return json.dumps({"order_id": order_id, "sku": sku, "card": card})


def test_shop_completes_and_compensates(tmp_path: Path) -> None:
    """`saga dev shop:place_order` and `saga start` bring one order to completed and one to compensated, against mocks
    that the connectors' facts describe, and the books of the mocks agree."""
    place = Place(SHOP.parent, tmp_path / "home")
    with place.running(["dev", "shop:place_order"], "ready") as dev:
        good = place.run("start", "shop:place_order", order("SO-1", "4242"), "--wait", "--timeout", "30", "-o", "json")
        bad = place.run(
            "start", "shop:place_order", order("SO-2", "declined"), "--wait", "--timeout", "30", "-o", "json"
        )
        page = place.run("show", "SO-2", "-d", "shop:place_order")
        assert stop(dev) == 0
    assert (good.code, json.loads(good.out)["status"]) == (0, "completed"), good.err
    assert (bad.code, json.loads(bad.out)["status"]) == (1, "compensated"), bad.err
    assert "COMPENSATED" in page.out
    assert "declined" in page.out
    assert "1st compensated" in page.out
    assert books(place, "stock") == ["applied", "applied", "undone"]
    assert books(place, "bank") == ["applied", "rejected"]


def books(place: Place, connector: str) -> list[str]:
    text = (place.home / "mocks" / f"{connector}.jsonl").read_text()
    return [json.loads(line)["outcome"] for line in text.splitlines()]


def test_shop_is_short() -> None:
    """The example has at most 25 lines that say something, and stands in one file."""
    lines = [line for line in SHOP.read_text().splitlines() if line.strip()]
    assert len(lines) <= LINES_MAX, len(lines)


def test_swapped_compensation_is_a_type_error(tmp_path: Path) -> None:
    """mypy names the line of a compensation that undoes another step, and finds nothing in the file as it is."""
    good, swapped = tmp_path / "shop_as_is.py", tmp_path / "shop_swapped.py"
    text = SHOP.read_text()
    good.write_text(text)
    refund = 'refund = bank.undo("/charges/undo", of=charge)\n'
    other = re.sub(r"(charge = bank.post.*\n)", r"\1" + refund, text).replace(
        "compensation=release", "compensation=refund"
    )
    swapped.write_text(other)
    line = next(n for n, found in enumerate(other.splitlines(), start=1) if "compensation=refund" in found)
    assert mypy(good) == ""
    said = mypy(swapped)
    assert f"shop_swapped.py:{line}: error:" in said, said
    assert "Reservation" in said, said


def mypy(path: Path) -> str:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        str(path.parent / "cache"),
    ]
    done = subprocess.run([*command, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert not done.stderr, done.stderr
    return done.stdout.replace("Success: no issues found in 1 source file\n", "")


def test_swapped_compensation_is_refused_when_built(tmp_path: Path) -> None:
    """Without a type checker the same mistake is exit code 2 and one line that names the step."""
    text = SHOP.read_text().replace("compensation=release", "compensation=refund")
    refund = 'refund = bank.undo("/charges/undo", of=charge)\n'
    (tmp_path / "wrong.py").write_text(re.sub(r"(charge = bank.post.*\n)", r"\1" + refund, text))
    place = Place(tmp_path, tmp_path / "home")
    done = place.run("start", "wrong:place_order", order("SO-1", "4242"))
    assert done.code == 2
    assert "reserve_stock: compensation /charges/undo undoes bank.POST /charges" in done.last_line
    assert "Traceback" not in done.err
