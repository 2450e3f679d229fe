"""What commands say, refuse and end with: exit codes of errors, reminders, idle options, signs without an encoding."""

import ast
import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import SagaStatus
from saga.errors import SagaError, SagaNotFound, UsageError
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.settings import Settings
from saga.store.memory import MemoryStore
from saga.surfaces.cancelling import SagaChanged
from saga.surfaces.cli import asking, options
from saga.surfaces.cli.commands import app
from saga.surfaces.cli.options import CODES, UNAVAILABLE, code_of
from saga.surfaces.cli.reminding import NOBODY, PATIENCE_S, Reminder, awaited
from saga.surfaces.cli.streams import DATA, OUTPUT_LOST, shown_on_page
from saga.surfaces.finding import find_definition
from saga.surfaces.folders import made_home, refuse_unwritable_mailbox
from saga.surfaces.lookup import look_up
from tests.simulation.sagas import Order, line
from tests.simulation.stepping import Process
from tests.simulation.world import VirtualClock

ROOT = Path(__file__).resolve().parents[3]
NO_TEXT = "\udcff"
"""How Python hands over the byte 0xFF of a command line."""
INSIDE = {"saga/runtime/celery/attempts.py", "saga/fulfilment/smtp.py", "saga/store/refusing.py"}
"""Modules whose errors are caught where they are raised, or by Celery, and never come to a command."""


def _bases() -> Iterator[tuple[str, str, set[str]]]:
    for path in (ROOT / "saga").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield str(path.relative_to(ROOT)), node.name, {ast.unparse(base) for base in node.bases}


def test_every_error_has_an_exit_code_of_the_table() -> None:
    """Each kind of error stands in the codes, itself or by its parent, and each code is a row of the table."""
    known, classes = {kind.__name__ for kind in CODES}, list(_bases())
    ours = {SagaError.__name__}
    while more := {name for _, name, bases in classes if bases & ours} - ours:
        ours |= more
    stated = set(known)
    while more := {name for _, name, bases in classes if bases & stated} - stated:
        stated |= more
    inside = {name for path, name, _ in classes if path in INSIDE}
    assert ours - stated - inside == {SagaError.__name__}
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", options.__doc__ or "", re.MULTILINE)}
    assert {*CODES.values(), OUTPUT_LOST, 130} <= rows


def test_a_race_that_was_lost_may_be_typed_again() -> None:
    """Somebody else wrote to the saga first: nothing is wrong with it, and the same command is right."""
    assert code_of(SagaChanged("s-1", 4)) == UNAVAILABLE


def waiting() -> tuple[VirtualClock, MemoryStore, str]:
    """A saga that nobody has begun, and the clock of its database."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    starter = Starter(store, environment="test", tenant="shop")
    saga_id = starter.start(line, Order(order_id="SO-1")).saga_id
    starter.stop()
    return clock, store, saga_id


def test_a_wait_reminds_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said while it may still end by itself; then one line, however long it takes."""
    now = [0.0]
    _, store, saga_id = waiting()
    reminder = Reminder("s-1", store, saga_id, lambda: now[0])
    for at in (0.0, PATIENCE_S - 0.1, PATIENCE_S, PATIENCE_S + 1, 60.0):
        now[0] = at
        reminder.look(SagaStatus.RUNNING)
    assert capsys.readouterr().err == "saga: s-1 is still running; is a worker running? saga status\n"


def test_a_wait_asks_for_no_worker_where_one_is_at_work() -> None:
    """It says what the worker is at, and when it looks again at what failed; a worker whose lease ended is nobody."""
    clock, store, saga_id = waiting()
    process = Process(store, Definitions([line]), "w1")
    assert awaited(store, saga_id) == NOBODY
    process.wake(saga_id)
    process.settle()
    clock.pass_s(2.0)
    assert awaited(store, saga_id) == "it waits for a, try 1, since 2.0 s"
    process.finish(process.call("a"), Outcome(OutcomeCode.THROTTLED, retry_after_s=50.0))
    process.settle()
    clock.pass_s(1.0)
    assert re.fullmatch(r"it waits for a, throttled; it is looked at again in \d.* s", awaited(store, saga_id))
    clock.pass_s(5.0)
    assert awaited(store, saga_id) == NOBODY


def test_a_wait_for_a_worker_that_died_asks_for_one() -> None:
    """What it had begun is open until another one takes it."""
    clock, store, saga_id = waiting()
    process = Process(store, Definitions([line]), "w1")
    process.wake(saga_id)
    process.settle()
    clock.pass_s(6.0)
    assert awaited(store, saga_id) == NOBODY


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["payment", "overloaded", "--code", "x"], "--code is of reject alone"),
        (["payment", "overloaded", "--order", ""], "--order: is empty"),
        (["payment", "overloaded", "--order", "SO-1", "--order", " "], "--order: is empty"),
        (["payment", "--code", "x"], "name one"),
        (["payment", "--times", "2"], "name one"),
    ],
)
def test_a_fault_that_could_never_fire_is_refused(arguments: list[str], says: str) -> None:
    """Before anybody is asked: no service has to run for that."""
    with pytest.raises(UsageError, match=says):
        CliRunner().invoke(app, ["fault", *arguments], catch_exceptions=False)
    assert asking.REJECT == "reject"


def test_a_key_of_another_request_is_called_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line has no header: the option is named, the saga that has the key, and what to do."""
    monkeypatch.setenv("SAGA_HOME", str(tmp_path))

    def start(order_id: str) -> Result:
        data = json.dumps({"order_id": order_id})
        return CliRunner().invoke(app, ["start", "tests.simulation.sagas:line", data, "--key", "once"])

    first = start("SO-1").stdout.strip()
    for refused in (start("SO-2"), CliRunner().invoke(app, ["return", "SO-1", "--key", "once"])):
        assert isinstance(refused.exception, UsageError)
        says = f"--key once: was used before with another content, for saga {first}; type another key"
        assert str(refused.exception) == says


def test_a_reference_that_is_no_text_is_not_found() -> None:
    """No journal holds it, so no saga is called so."""
    store = MemoryStore()
    with pytest.raises(SagaNotFound):
        look_up(store, NO_TEXT)
    store.close()
    with pytest.raises(SagaNotFound):
        CliRunner().invoke(app, ["return", NO_TEXT], catch_exceptions=False)


def test_signs_are_spelled_where_there_are_none() -> None:
    """On a page as words that differ, in JSON so that it says the same; where there are signs nothing changes."""
    page = "✗ a → b … ∥ ü 😀"
    assert shown_on_page(page, "utf-8") == page
    assert shown_on_page(page, "ascii") == "!! a -> b ... || \\u00fc \\ud83d\\ude00"
    text = json.dumps({"name": page}, ensure_ascii=False)
    assert json.loads(codecs.encode(text, "ascii", DATA)) == {"name": page}


def test_why_a_folder_cannot_be_written_is_one_reason() -> None:
    """Home and mailbox ask in the same way, so that a read-only file system is called so. /proc refuses new files, whatever
    the rights of who asks."""
    folder = Path("/proc/self")
    fulfil = find_definition("saga.fulfilment.fulfil_order:fulfil_order")
    with pytest.raises(UsageError) as of_home:
        made_home(Settings(home=folder))
    with pytest.raises(UsageError) as of_mails:
        refuse_unwritable_mailbox(Settings(home=folder), [fulfil])
    assert str(of_mails.value).partition("written: ")[2] == str(of_home.value).partition("written: ")[2] != ""


def test_a_module_that_ends_its_process_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that is taken for a module of definitions must not end the command in silence."""
    (tmp_path / "ends_itself.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"ends_itself cannot be imported: SystemExit: 3 \(.*ends_itself.py:1\)"):
        find_definition("ends_itself:place_order")
