"""What a person does to the demonstration, at a terminal: whatever it is, the books are right at the end."""

import json
import re
import termios
from pathlib import Path

from tests.e2e.commands import Place
from tests.e2e.terminal import Terminal, at_terminal


def _is_raw(terminal: Terminal) -> bool:
    """Whether keys come one by one; the local flags are the fourth of the attributes."""
    return not terminal.attributes()[3] & termios.ICANON


def test_kill_broker_and_cancel(tmp_path: Path) -> None:
    """One order is cancelled, the worker is killed with orders open, the broker goes and comes: another worker takes over, says
    how many after how long, every order ends where it must, the cancelled one compensated for that cause, and no invariant is
    broken."""
    place = Place(tmp_path, tmp_path / "home")
    with at_terminal(place, "demo", "--orders", "40", "--rate", "100", "-o", "json") as terminal:
        terminal.wait_for("q finish")
        terminal.press("c")
        terminal.wait_for("cancelled before its point of no return")
        terminal.press("k")
        terminal.wait_for("starts; the lease of the dead runs out first")
        terminal.press("b")
        terminal.wait_for("broker off: hints are dropped")
        terminal.wait_for("took over its")
        terminal.press("b")
        code, out = terminal.ended()
    done = json.loads(out)
    assert code == 0, done
    assert (done["orders"], done["halted"], done["violations"]) == (40, 0, 0)
    assert done["completed"] + done["compensated"] == 40
    assert done["causes"]["cancelled"] == 1
    assert done["faults"]["kill -9"] == 1
    told = [what for what in done["by_you"] if "took over" in what]
    assert len(told) == 1
    found = re.fullmatch(
        r"worker (\d+) killed → (\d+) took over its (\d+) orders? after ([\d.]+)(?: to [\d.]+)? s", told[0]
    )
    assert found is not None, told
    assert found[1] != found[2]
    assert int(found[3]) > 0


def test_finish_early(tmp_path: Path) -> None:
    """q: no more orders are accepted, those that were end, the frozen worker and the payment service that was off go on for it,
    and the audit of them is green. The table shows the books; the terminal is as it was before."""
    place = Place(tmp_path, tmp_path / "home")
    with at_terminal(place, "demo", "--orders", "300", "--rate", "10", "-o", "json") as terminal:
        terminal.wait_for("q finish")
        assert _is_raw(terminal)
        terminal.wait_for("= due £")
        terminal.press("pz")
        terminal.wait_for("z thaw  b broker off  p payment on")
        terminal.press("q")
        code, out = terminal.ended()
        assert terminal.attributes() == terminal.before
    done = json.loads(out)
    assert code == 0, done
    assert 0 < done["orders"] < 300
    assert done["completed"] + done["compensated"] == done["orders"]
    assert (done["halted"], done["violations"], done["not_ended"]) == (0, 0, 0)
    assert done["audit"]["ok"] is True


def test_a_cancel_waits_for_the_frozen_worker(tmp_path: Path) -> None:
    """Frozen, the worker may hold the lock for writers: a cancel would wait for it in the thread that thaws it. It waits its turn,
    the keys go on, and the order is cancelled after the thaw; both freezes end green."""
    place = Place(tmp_path, tmp_path / "home")
    with at_terminal(place, "demo", "--orders", "60", "--rate", "20", "-o", "json") as terminal:
        terminal.wait_for("q finish")
        terminal.wait_for("= due £")
        terminal.press("zc")
        terminal.wait_for("cancel waits for the frozen worker")
        terminal.press("z")
        terminal.wait_for("cancelled before its point of no return")
        code, out = terminal.ended()
    done = json.loads(out)
    assert code == 0, done
    deeds = [what.split()[0] if "cancel" in what else what.split()[2].rstrip(",") for what in done["by_you"]]
    assert deeds[:3] == ["frozen", "cancel", "thawed"], done["by_you"]
    assert (done["causes"]["cancelled"], done["violations"]) == (1, 0)


def test_ctrl_c_gives_the_terminal_back(tmp_path: Path) -> None:
    """ctrl-C ends it at once, also while the worker is frozen; the terminal waits for lines and shows them again."""
    place = Place(tmp_path, tmp_path / "home")
    with at_terminal(place, "demo", "--orders", "300", "--rate", "10") as terminal:
        terminal.wait_for("q finish")
        assert _is_raw(terminal)
        terminal.press("z")
        terminal.wait_for("z thaw")
        terminal.press("\x03")
        code, _ = terminal.ended(30)
        assert code != 0
        assert terminal.attributes() == terminal.before
