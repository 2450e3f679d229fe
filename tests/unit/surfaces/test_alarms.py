"""`saga status --check`: what wakes a person, one reason at a time, and the exit codes that a monitor reads."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from saga.core.states import HaltReason, SagaStatus
from saga.store import schema
from saga.store.opening import open_store
from saga.store.port import WorkerRow
from saga.surfaces.alarms import Bounds, alarm_line, checked, unavailable
from saga.surfaces.cli.commands import app
from saga.surfaces.reading import WorkerReading
from saga.surfaces.standing import Day, HaltedGroup, Standing

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
WORKER = WorkerReading(worker_id="w", host="h", pid=1, queues=[], lease_until=NOW, is_alive=True, gone_s=None)
GONE = WORKER.model_copy(update={"is_alive": False, "gone_s": 3.0})
FINE = Standing(
    environment="test", tenants=["default"], at=NOW, looked_since=None, counts=dict.fromkeys(SagaStatus, 0), due_count=2, oldest_due_s=1.0, oldest=None,
    today=Day(since=NOW, accepted=0, completed=0, compensated=0, compensated_percent=None, usual_percent=None, is_whole=True),
    waiting=[], folded_count=0, unreadable_count=0, halted_groups=[], halted=[], workers=[WORKER],
)  # fmt: skip


def halted(reason: HaltReason, count: int, *, heals_itself: bool = False) -> HaltedGroup:
    return HaltedGroup(
        reason=reason, heals_itself=heals_itself, count=count, entities=["SO-1"], tenants=["default"], read_count=1, money_minor={}, next_look_at=None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "bounds", "codes"),
    [
        ({}, {}, []),
        ({"workers": []}, {}, ["workers"]),
        ({"workers": [GONE]}, {}, ["workers"]),
        ({"workers": []}, {"min_workers": 0}, []),
        ({"workers": [WORKER]}, {"min_workers": 2}, ["workers"]),
        ({"halted_groups": [halted(HaltReason.DEFECT, 2)]}, {}, ["halted"]),
        ({"halted_groups": [halted(HaltReason.DEFECT, 2)]}, {"max_halted": 2}, []),
        ({"halted_groups": [halted(HaltReason.PARTICIPANT_DOWN, 9, heals_itself=True)]}, {}, []),
        ({"oldest_due_s": 60.5}, {}, ["due"]),
        ({"oldest_due_s": 60.5}, {"max_due_s": 61}, []),
        ({"untaken": ["place v1"]}, {}, ["untaken"]),
        ({"unreadable_count": 1}, {}, ["unreadable"]),
        ({"unreadable_count": 1, "workers": []}, {}, ["workers", "unreadable"]),
    ],
)
def test_each_reason(change: dict[str, object], bounds: dict[str, float], codes: list[str]) -> None:
    """A bound is a bound, and what heals by itself wakes nobody; the line is one line."""
    found = checked(FINE.model_copy(update=change), Bounds.model_validate(bounds))
    assert ([one.code for one in found.reasons], found.ok) == (codes, not codes)
    line = alarm_line(found)
    assert line.startswith("ALARM   " if codes else "OK   ")
    assert "\n" not in line


def test_the_line_says_how_many_and_why() -> None:
    """As a pager shows it."""
    groups = [halted(HaltReason.DEFECT, 2), halted(HaltReason.POISON, 1)]
    found = checked(FINE.model_copy(update={"halted_groups": groups, "workers": []}), Bounds())
    assert alarm_line(found) == "ALARM   3 halted for a person (2 defect, 1 poison); 0 of at least 1 workers"
    assert alarm_line(checked(FINE, Bounds())) == "OK   live 0, due 2, halted 0, workers 1"
    assert alarm_line(unavailable("no\nanswer")) == "ALARM   no\\u000aanswer"


def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 without a journal, 1 without a worker, 0 with one, 2 for a bound that is none, 4 when the database does not answer, and
    then the reason stands on stdout too."""
    monkeypatch.setenv("SAGA_HOME", str(tmp_path))
    ask = CliRunner().invoke
    assert ask(app, ["status", "--check"]).exit_code == 3
    url = f"sqlite:///{tmp_path / 'saga.db'}"
    schema.upgrade(url)
    without = ask(app, ["status", "--check", "-o", "json"])
    assert (without.exit_code, [it["code"] for it in json.loads(without.stdout)["reasons"]]) == (1, ["workers"])
    assert ask(app, ["status", "--check", "--min-workers", "0"]).exit_code == 0
    assert ask(app, ["status"]).exit_code == 0
    store = open_store(url)
    store.register_worker(WorkerRow("w1", "h", 1, (), lease_ttl_s=600.0))
    store.close()
    fine = ask(app, ["status", "--check"])
    assert (fine.exit_code, fine.stdout) == (0, "OK   live 0, due 0, halted 0, workers 1\n")
    assert ask(app, ["status", "--check", "--max-due-s", "nan"]).exit_code == 2
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    away = ask(app, ["status", "--check", "-o", "json"])
    assert (away.exit_code, json.loads(away.stdout)["reasons"][0]["code"]) == (4, "unavailable")
