"""Each fault on command does what docs/participants.md says, seen by a raw client and in the books."""

import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.integration.services.conftest import Caller

COUNT, UNDO, LOOK = "POST /v1/counts", "POST /v1/counts/undo", "POST /v1/looks"


def once(fault: str, operation: str = COUNT, **further: Any) -> dict[str, Any]:
    return {"fault": fault, "operation": operation, "times": 1, **further}


def keys_in_barrier(caller: "Caller") -> list[str]:
    return [row["key"] for row in caller.rows("/v1/barrier")]


def test_refuse_closes_before_the_work(sqlite_caller: "Caller") -> None:
    """The connection ends without a byte of answer and nothing is applied; the repeat is."""
    sqlite_caller.set_faults(once("refuse"))
    with pytest.raises(requests.ConnectionError):
        sqlite_caller.count("k1")
    assert keys_in_barrier(sqlite_caller) == []
    assert sqlite_caller.count("k1").status_code == 201
    assert sqlite_caller.fired() == 1


def test_error_before_applies_nothing(sqlite_caller: "Caller") -> None:
    """500, and no row under the key."""
    sqlite_caller.set_faults(once("error_before"))
    assert sqlite_caller.count("k1").status_code == 500
    assert keys_in_barrier(sqlite_caller) == []


def test_error_after_has_applied(caller: "Caller") -> None:
    """500 although the work is committed; the repeat is answered from what was kept."""
    caller.set_faults(once("error_after"))
    assert caller.count("k1", 3).status_code == 500
    assert caller.total() == 3
    assert caller.count("k1", 3).headers["Idempotency-Replayed"] == "true"


def test_drop_response_has_applied(caller: "Caller") -> None:
    """The connection ends without an answer although the work is committed."""
    caller.set_faults(once("drop_response"))
    with pytest.raises(requests.ConnectionError):
        caller.count("k1", 3)
    assert caller.total() == 3
    assert caller.count("k1", 3).headers["Idempotency-Replayed"] == "true"


def test_overloaded_says_when_to_come_back(sqlite_caller: "Caller") -> None:
    """503 with Retry-After, and nothing applied."""
    sqlite_caller.set_faults(once("overloaded"))
    answer = sqlite_caller.count("k1")
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "overloaded", "1")
    assert keys_in_barrier(sqlite_caller) == []


def test_latency_answers_late_and_works_at_once(sqlite_caller: "Caller") -> None:
    """The answer is the right one and comes no earlier than the delay."""
    sqlite_caller.set_faults(once("latency", delay_s=0.3))
    began_at = time.monotonic()
    assert sqlite_caller.count("k1").status_code == 201
    assert time.monotonic() - began_at >= 0.3


def test_duplicate_is_worked_on_twice_with_one_effect(caller: "Caller") -> None:
    """Two copies at the same time in the service: one answer, one row, one movement."""
    caller.set_faults({"fault": "duplicate", "operation": COUNT})
    for number in range(5):
        assert caller.count(f"k{number}", 2).status_code == 201
    assert caller.total() == 10
    assert len(caller.rows("/v1/ledger")) == 5


def test_late_is_applied_after_the_connection_is_gone(caller: "Caller") -> None:
    """The connection ends at once; the work is done `delay_s` later, once, although the caller has repeated it."""
    caller.set_faults(once("late", delay_s=0.4, order_ids=["SO-1"]))
    with pytest.raises(requests.ConnectionError):
        caller.count("k1", 3)
    assert keys_in_barrier(caller) == []
    wait_until(lambda: keys_in_barrier(caller) == ["k1"], what="the late request in the barrier")
    assert caller.count("k1", 3).headers["Idempotency-Replayed"] == "true"
    assert caller.total() == 3


def test_late_meets_the_tombstone_of_its_undo(caller: "Caller") -> None:
    """An undo overtakes a late action: the action finds the tombstone and does nothing."""
    caller.set_faults(once("late", delay_s=0.3))
    with pytest.raises(requests.ConnectionError):
        caller.count("k1", 3)
    assert caller.undo("u1", "k1").json()["undone"] is False
    # Of two late requests with the same delay the first is worked on first; when the second is there, both were.
    caller.set_faults(once("late", delay_s=0.5))
    with pytest.raises(requests.ConnectionError):
        caller.count("k2", 4)
    wait_until(lambda: "k2" in keys_in_barrier(caller), what="the later one")
    assert caller.total() == 4
    assert caller.count("k1", 3).json()["code"] == "tombstoned"


def test_reject_is_kept_like_any_rejection(caller: "Caller") -> None:
    """The code and its status; a repeat hears the same although the rule has no firing left."""
    caller.set_faults(once("reject", code="too_many"))
    first, second = caller.count("k1", 1), caller.count("k1", 1)
    assert (first.status_code, first.json()["code"]) == (409, "too_many")
    assert second.content == first.content
    assert second.headers["Idempotency-Replayed"] == "true"
    assert caller.total() == 0


def test_faults_hit_undos_and_readonly_calls(sqlite_caller: "Caller") -> None:
    """A rule may name an undo or a readonly operation; the undo has then been applied or not as the fault says."""
    sqlite_caller.count("k1", 3)
    sqlite_caller.set_faults(once("drop_response", UNDO), once("error_before", LOOK))
    with pytest.raises(requests.ConnectionError):
        sqlite_caller.undo("u1", "k1")
    assert sqlite_caller.post("/v1/looks", None, {"name": "a"}).status_code == 500
    assert sqlite_caller.total() == 0
    assert sqlite_caller.undo("u1", "k1").headers["Idempotency-Replayed"] == "true"


def test_rules_choose_by_order(sqlite_caller: "Caller") -> None:
    """`order_ids` fires for those orders, on every request, and for no other."""
    sqlite_caller.set_faults({"fault": "error_before", "operation": COUNT, "order_ids": ["SO-2"]})
    assert sqlite_caller.count("k1", order_id="SO-1").status_code == 201
    assert [sqlite_caller.count("k2", order_id="SO-2").status_code for _ in range(2)] == [500, 500]


def test_same_script_and_calls_give_the_same_faults(sqlite_caller: "Caller") -> None:
    """A probability is decided by seed, rule, key and attempt: replacing the script with itself repeats the faults."""

    def run(seed: int) -> list[int]:
        sqlite_caller.set_faults({"fault": "overloaded", "probability": 0.5}, seed=seed)
        return [sqlite_caller.count(f"k{number}").status_code for number in range(30)]

    first = run(1)
    assert {201, 503} == set(first)
    assert run(1) == first
    assert run(2) != first


def test_log_tells_which_request_met_which_fault(sqlite_caller: "Caller") -> None:
    """`fired` pages through the log with key, order and attempt; DELETE clears script, counts and log."""
    sqlite_caller.set_faults(once("overloaded"), once("error_before"))
    sqlite_caller.count("k1")
    sqlite_caller.count("k1")
    rows = sqlite_caller.rows("/v1/faults/fired")
    assert [(row["fault"], row["key"], row["order_id"], row["attempt"]) for row in rows] == [
        ("overloaded", "k1", "SO-1", 1),
        ("error_before", "k1", "SO-1", 2),
    ]
    page = requests.get(f"{sqlite_caller.url}/v1/faults/fired", params={"after": 1, "limit": 1}, timeout=20).json()
    assert [row["id"] for row in page["rows"]] == [2]
    requests.delete(f"{sqlite_caller.url}/v1/faults", timeout=20)
    assert requests.get(f"{sqlite_caller.url}/v1/faults", timeout=20).json()["rules"] == []
    assert sqlite_caller.rows("/v1/faults/fired") == []


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"fault": "explode"}, "rules.0.fault"),
        ({"fault": "refuse", "operation": "POST /v1/nothing"}, "rules.0.operation"),
        ({"fault": "reject", "operation": COUNT, "code": "unheard_of"}, "rules.0.code"),
        ({"fault": "reject", "operation": "*", "code": "too_many"}, "rules.0.code"),
        ({"fault": "refuse", "probability": 1.5}, "rules.0.probability"),
        ({"fault": "refuse", "oder_ids": []}, "rules.0.oder_ids"),
    ],
)
def test_script_that_cannot_be_done_is_refused(sqlite_caller: "Caller", rule: dict[str, Any], field: str) -> None:
    """A script with a mistake is 422 with the field, and the script before stays."""
    sqlite_caller.set_faults(once("overloaded"))
    answer = sqlite_caller.set_faults(rule)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert sqlite_caller.count("k1").status_code == 503
