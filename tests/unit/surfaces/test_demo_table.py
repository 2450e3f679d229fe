"""What the demonstration's table says, line by line."""

from datetime import UTC, datetime, timedelta

import pytest

from saga.core.states import SagaStatus
from saga.surfaces.demo_books import Money, Stock
from saga.surfaces.demo_following import Happening
from saga.surfaces.demo_table import FAULT_NAMES, WIDTH, Keys, Picture, table
from saga.testing.oracle import TECHNICAL_FAULTS

AT = datetime(2026, 11, 21, 14, 2, 13, 900_000, UTC)
COUNTS = {SagaStatus.RUNNING: 23, SagaStatus.COMPENSATING: 4, SagaStatus.COMPLETED: 141, SagaStatus.COMPENSATED: 32}
CAUSES = {"declined": 18, "out_of_stock": 9, "cancelled": 5}
FIRED = dict.fromkeys(FAULT_NAMES, 14)
MONEY = Money(captured=821_410, completed=800_000, due=800_000, in_flight=21_410, in_flight_count=4)
STOCK = Stock(initial=4_000, available=3_655, reserved=62, shipped=283)


def _picture(**more: object) -> Picture:
    given: dict[str, object] = {
        "asked": 200,
        "seed": 7,
        "parts": "SQLite · folder broker · 4 services · worker",
        "worker_pid": 41_213,
        "seconds": 11.9,
        "counts": COUNTS,
        "causes": CAUSES,
        "fired": FIRED,
        "money": MONEY,
        "stock": STOCK,
        "keys": Keys(),
    }
    return Picture(**{**given, **more})  # type: ignore[arg-type]


def _line(start: str, **more: object) -> str:
    """The only line that begins so."""
    found = [line for line in table(_picture(**more)) if line.strip().startswith(start)]
    assert len(found) == 1, found
    return found[0]


def test_counts() -> None:
    """Accepted is the sum of all statuses, done those that have ended; the bar shows done of what was asked for."""
    assert _line("accepted").split() == (
        ["accepted", "200", "█████████████████···", "done", "173", "15/s", "running", "23", "compensating", "4"]
    )
    assert _line("compensated").endswith("5 cancelled   18 declined   9 out of stock")
    assert _line("halted").split() == ["halted", "0"]
    assert table(_picture())[0].startswith("saga demo   200 orders   seed 7   00:11")


def test_causes_that_were_not_read_are_told() -> None:
    """A rollback whose journal was not read yet has no cause on the screen, and is not left out of the sum."""
    assert _line("compensated", causes={"declined": 30}).endswith("30 declined   2 unread")


def test_every_fault_of_the_script_has_a_name() -> None:
    """What the services count is on the screen: no kind is left out, none that did not fire is shown."""
    shown = " ".join(table(_picture()))
    assert set(TECHNICAL_FAULTS) <= set(FAULT_NAMES)
    assert all(f"{name} 14" in shown for name in FAULT_NAMES.values())
    assert _line("faults", fired={"late": 2}, kill_count=1).split("fired")[1].strip() == "late 2   kill -9 1"
    assert _line("faults", fired={}).split("fired")[1].strip() == "–"


def test_money_in_flight_is_said_and_is_no_fault() -> None:
    """What was captured for orders on their way stands beside what completed orders paid, which is held against their due."""
    assert _line("books").split("books")[1].strip() == (
        "captured £8,214.10 = due £8,000.00 ✓ + in flight £214.10 (4 orders)"
    )
    rest = Money(captured=100, completed=100, due=100, in_flight=0, in_flight_count=0)
    assert _line("books", money=rest).endswith("captured £1.00 = due £1.00 ✓")


@pytest.mark.parametrize(
    "money",
    [Money(captured=100, completed=100, due=10, in_flight=0, in_flight_count=0), Money(190, 100, 100, 0, 0)],
    ids=["completed orders paid too much", "an order that was rolled back has paid"],
)
def test_money_that_nothing_explains(money: Money) -> None:
    """A sum that does not fit has a cross, whichever side is too much."""
    assert "✗ £0.90 unexplained" in _line("books", money=money)


def test_stock() -> None:
    """Initial is what lies in the three buckets, or there is a cross."""
    expected = "stock 4,000 = available 3,655 + reserved 62 + shipped 283 ✓"
    assert _line("stock").strip() == expected
    assert _line("stock", stock=Stock(4_000, 3_655, 62, 282)).endswith("✗")


def test_what_was_not_read_is_a_dash() -> None:
    """Before the first answer of a service there is no figure, and none that looks like one."""
    assert _line("books", money=None).endswith("captured –")
    assert _line("stock", stock=None).endswith("stock –")


def test_last_things_first() -> None:
    """The newest four stand there, the newest on top; ids do not move the cursor."""
    happened = [Happening(AT + timedelta(seconds=n), f"SO-{n}\x1b[A", "capture_payment", "no answer") for n in range(7)]
    lines = [line for line in table(_picture(happened=happened)) if "SO-" in line]
    assert [line.split()[1] for line in lines] == [f"SO-{n}\\u001b[A" for n in (6, 5, 4, 3)]
    assert lines[0].startswith("  14:02:19.9  SO-6")


def test_keys_say_what_they_would_do() -> None:
    """A key that undoes says so; without keys, and when it is over, there is no line of them."""
    assert "z freeze  b broker off  p payment off  c cancel one  q finish" in _line("k kill")
    turned = Keys(is_frozen=True, is_broker_off=True, is_payment_off=True, is_finishing=True)
    assert "z thaw  b broker on  p payment on  c cancel one  q end now" in _line("k kill", keys=turned)
    assert not any("k kill" in line for line in table(_picture(keys=None)))
    assert not any("k kill" in line for line in table(_picture(has_ended=True)))


def test_width() -> None:
    """With everything on it no line is longer than the screens that it is for; the keys fit the narrowest."""
    causes = {"cancelled": 5, "declined": 11, "out_of_stock": 12, "undeliverable": 4}
    lines = table(_picture(kill_count=3, dropped_count=216, repeated_count=51, causes=causes))
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) <= 24
    assert len(_line("k kill")) <= 80
