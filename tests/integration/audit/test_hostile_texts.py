"""Every command that shows an entity, a name, a reason or a detail, over a journal that holds texts made to deceive."""

import io
import json
import sqlite3
import sys
import unicodedata
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from saga.core.events import CancelAsked
from saga.runtime.engine import Definitions, tell
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.worker import Worker
from saga.settings import read_settings
from saga.store.connecting import sqlite_path
from saga.store.opening import open_store
from saga.store.port import SagaFilter, SagaRow
from saga.store.schema import upgrade
from saga.surfaces.cli import main
from saga.surfaces.draining import left_of
from saga.surfaces.finding import find_definition
from tests.waiting import wait_until

HOSTILE = "\nFORGED \x1b[2J\x1b]0;t\x07 \u202eDIAP \u2028\u2066\x85 Zoë 山田 👩\u200d👧"
MODULE = """
from pydantic import BaseModel
from saga.core.definition import Saga, compensatable, pivot
from saga.errors import Rejected

class Order(BaseModel):
    order_id: str

class Held(BaseModel):
    hold_id: str

def hold(order: Order) -> Held:
    if "broken" in order.order_id:
        raise ValueError(order.order_id)
    return Held(hold_id=order.order_id)

def let_go(held: Held) -> None:
    pass

def pay(order: Order) -> Held:
    if "declined" in order.order_id:
        raise Rejected(order.order_id)
    return Held(hold_id=order.order_id)

place = Saga("place", version=1, input=Order, entity=lambda it: it.order_id, steps=[
    compensatable(hold, compensation=let_go, keys="serialise"), pivot(pay, keys="serialise")])
"""
MAIL = """From: Shop <shop@example.org>
To: "{name}" <zoe@example.org>
Subject: {name}
Date: Sat, 21 Nov 2026 03:00:00 +0000
Message-ID: <m@shop.invalid>
X-Saga-Order: SO-1

Dear {name},
"""
UNSHOWN, JOINERS = {"Cc", "Cf", "Cs", "Zl", "Zp"}, "\u200c\u200d"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A journal with a saga of each end, all of them with such texts; the name of its definition."""
    (tmp_path / f"shop_{unique}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setenv("SAGA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"shop_{unique}:place"
    saga, settings = find_definition(name), read_settings()
    settings.home.mkdir(mode=0o700)
    upgrade(settings.store_url)
    store = open_store(settings.store_url)
    starter = Starter(store, environment=settings.environment, tenant=settings.tenant)
    worker = Worker(store, Definitions([saga]), Executor(str, store.clock))
    worker.start()
    for kind in ("fine", "declined", "broken"):
        starter.start(saga, saga.input(order_id=f"{kind}{HOSTILE}"))
    wait_until(lambda: left_of(store, Definitions([saga])).moving_count == 0, 20)
    assert worker.stop()
    started = starter.start(saga, saga.input(order_id=f"idle{HOSTILE}"))
    halted = next(row for row in store.find(SagaFilter(), 9) if row.halt_reason)
    for saga_id in (halted.saga_id, started.saga_id):
        tell(store, Definitions([saga]), saga_id, CancelAsked(store.clock(), f"anna{HOSTILE}", HOSTILE), actor="cli")
    starter.stop()
    store.close()
    with closing(sqlite3.connect(sqlite_path(settings.store_url))) as books, books:
        books.execute("UPDATE saga SET status = 'compensated' WHERE status = 'completed'")  # which the audit tells
    settings.mail_folder.mkdir(mode=0o700)
    (settings.mail_folder / "1.eml").write_bytes(MAIL.format(name=HOSTILE.replace("\n", "")).encode(errors="replace"))
    return name


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """One command in this process, as the console script runs it: exit code, stdout, stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        written = io.BytesIO(), io.BytesIO()
        out, err = (io.TextIOWrapper(it, encoding="utf-8", write_through=True) for it in written)
        with monkeypatch.context() as own:
            own.setattr(sys, "argv", ["saga", *arguments])
            own.setattr(sys, "stdout", out)
            own.setattr(sys, "stderr", err)
            try:
                main()
                code: Any = 0
            except SystemExit as end:
                code = end.code
        return int(code or 0), written[0].getvalue().decode(), written[1].getvalue().decode()

    return command


def rows() -> list[SagaRow]:
    store = open_store(read_settings().store_url)
    try:
        return store.find(SagaFilter(), 9)
    finally:
        store.close()


def raw(text: str) -> list[str]:
    """What is there and should have been shown by its number, and lines that somebody else began."""
    letters = {hex(ord(it)) for it in text if unicodedata.category(it) in UNSHOWN and it not in f"\n\t{JOINERS}"}
    return sorted(letters) + [line for line in text.splitlines() if line.lstrip().startswith("FORGED")]


@pytest.mark.timeout(120)
def test_no_command_prints_it_raw(place: str, run: Run) -> None:
    """Pages, JSON, remarks and errors; names stay readable, and JSON says what the journal says."""
    ids = [row.saga_id for row in rows()]
    each: list[tuple[str, ...]] = [("show", it, "-d", place) for it in ids] + [
        ("show", it, "-d", place, "--attempts") for it in ids
    ]
    each += [("show", it) for it in ids] + [("journal", it) for it in ids]
    each += [("watch", it, "--timeout", "0") for it in ids] + [
        ("cancel", it, "-d", place, "--reason", "x") for it in ids
    ]
    each += [
        ("list",),
        ("list", "--entity", f"fine{HOSTILE}"),
        ("list", "-d", HOSTILE),
        ("status",),
        ("audit", "--partial"),
    ]
    each += [
        ("audit", "-d", place, "--partial"),
        ("audit",),
        ("show", HOSTILE),
        ("show", "fine"),
        ("cancel", HOSTILE, "--reason", "x"),
    ]
    each += [
        ("cancel", ids[0], "-d", place, "--reason", HOSTILE),
        ("mailbox",),
        ("mailbox", "SO-1"),
        ("mailbox", HOSTILE),
    ]
    each += [
        ("start", place, json.dumps({"order_id": f"fine{HOSTILE}"})),
        ("start", place, json.dumps({"order": HOSTILE})),
    ]
    each += [
        ("return", HOSTILE),
        ("ledger", HOSTILE),
        ("fault", HOSTILE),
        ("orders", "rebuild"),
        ("orders", "submit", HOSTILE),
    ]
    each += [("start", HOSTILE, "{}"), ("list", "--status", HOSTILE), ("list", "--limit", HOSTILE), (HOSTILE,)]
    for command in each:
        for more in ((), ("-o", "json"), ("-o", "jsonl")):
            code, out, err = run(*command, *more)
            assert code in range(5), (command, more, code, err)
            said_back = "Usage:" in err  # of what was typed just now, typer repeats a line break
            assert raw(out) == [], (command, more, out)
            assert [it for it in raw(err) if not (said_back and it.startswith("FORGED"))] == [], (command, more, err)
            assert "Traceback" not in err, err


def test_it_is_still_told(place: str, run: Run) -> None:
    """By number; names and emoji in letters; and in JSON as the journal has it."""
    _, out, _ = run("list")
    assert "fine\\u000aFORGED \\u001b[2J\\u001b]0;t\\u0007 \\u202eDIAP \\u2028\\u2066\\u0085 Zoë 山田 👩\u200d👧" in out
    _, out, _ = run("list", "-o", "json")
    assert f"broken{HOSTILE}" in {one["entity"] for one in json.loads(out)}
    _, out, _ = run("audit", "-d", place, "--partial")
    assert "✗ fine\\u000aFORGED \\u001b[2J" in out
