"""The barrier through a service: one effect per key, whatever comes twice, late or in the wrong order."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from tests.integration.services.conftest import Caller


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """The answers of `count` threads that begin together."""
    gate = threading.Barrier(count)

    def one(number: int) -> Any:
        gate.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def outcomes(caller: "Caller") -> list[tuple[str, str, str]]:
    return [(row["key"], row["kind"], row["outcome"]) for row in caller.rows("/v1/barrier")]


def test_repeat_is_answered_from_what_was_kept(caller: "Caller") -> None:
    """The same request under the same key does nothing more and gets the same bytes, marked as replayed."""
    first, second = caller.count("k1", 3), caller.count("k1", 3)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert caller.total() == 3
    assert [row["amount"] for row in caller.rows("/v1/ledger")] == [3]


def test_key_of_another_request_is_refused(caller: "Caller") -> None:
    """A key with another body is 422 and changes nothing, neither the counter nor what is kept."""
    caller.count("k1", 3)
    other = caller.count("k1", 4)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert caller.total() == 3
    assert caller.count("k1", 3).status_code == 201


def test_undo_that_comes_first_stops_the_action(caller: "Caller") -> None:
    """An undo of what was never seen succeeds with undone=false, and the action that comes later does nothing."""
    undone = caller.undo("u1", "k1")
    assert (undone.status_code, undone.json()) == (200, {"undone": False, "effects": []})
    late = caller.count("k1", 3)
    assert (late.status_code, late.json()["code"]) == (409, "tombstoned")
    assert caller.total() == 0
    assert sorted(outcomes(caller)) == [("k1", "action", "tombstone"), ("u1", "undo", "null")]
    again = caller.undo("u1", "k1")
    assert again.json() == undone.json()
    assert again.headers["Idempotency-Replayed"] == "true"


def test_undo_moves_back_once(caller: "Caller") -> None:
    """An undo repeated under its key, and one more under another key, move back one time in all."""
    caller.count("k1", 3)
    first, again, other = caller.undo("u1", "k1"), caller.undo("u1", "k1"), caller.undo("u2", "k1")
    assert first.json()["undone"] is True
    assert first.json()["effects"][0] == {
        "kind": "count",
        "unit": "a",
        "quantity": 3,
        "sign": -1,
        "expires_at": None,
    }
    assert again.content == first.content
    assert other.json() == {"undone": True, "effects": []}
    assert caller.total() == 0
    assert [row["amount"] for row in caller.rows("/v1/ledger")] == [3, -3]
    rows = caller.rows("/v1/barrier")
    assert [(row["key"], row["undoes"], row["order_id"], row["outcome"]) for row in rows] == [
        ("k1", None, "SO-1", "applied"),
        ("u1", "k1", "SO-1", "undone"),
        ("u2", "k1", "SO-1", "null"),
    ]


def test_copy_that_comes_after_the_undo_meets_a_tombstone(caller: "Caller") -> None:
    """Nothing is held any more, so nobody hears the kept answer again, with the same body or another; what was kept for
    the books stays as it was."""
    caller.count("k1", 3)
    caller.undo("u1", "k1")
    for amount in (3, 3, 4):
        late = caller.count("k1", amount)
        assert (late.status_code, late.json()["code"]) == (409, "tombstoned")
        assert "undone before" in late.json()["detail"]
    assert caller.total() == 0
    assert outcomes(caller) == [("k1", "action", "applied"), ("u1", "undo", "undone")]


def test_rejected_and_undone_is_closed_too(caller: "Caller") -> None:
    """Until the undo a copy hears the kept "no", after it the tombstone, as if the undo had come first."""
    assert caller.count("k1", 11).json()["code"] == "too_many"
    assert caller.count("k1", 11).json()["code"] == "too_many"
    assert caller.undo("u1", "k1").json() == {"undone": False, "effects": []}
    assert caller.undo("u2", "k1").json() == {"undone": False, "effects": []}
    assert caller.count("k1", 11).json()["code"] == "tombstoned"
    assert caller.total() == 0
    assert outcomes(caller)[0] == ("k1", "action", "rejected")


def test_undo_key_of_another_undo_is_refused(caller: "Caller") -> None:
    """An undo's key names one action; with another it is 422 and nothing moves."""
    caller.count("k1", 3)
    caller.count("k2", 4)
    caller.undo("u1", "k1")
    other = caller.undo("u1", "k2")
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert caller.total() == 4


def test_rejection_leaves_nothing_and_is_remembered(caller: "Caller") -> None:
    """A business no rolls back what its work had begun, ledger too, and every later copy hears the same no."""
    first, second = caller.count("k1", 11), caller.count("k1", 11)
    assert (first.status_code, first.json()["code"]) == (409, "too_many")
    assert first.headers["Content-Type"] == "application/problem+json"
    assert second.content == first.content
    assert second.headers["Idempotency-Replayed"] == "true"
    assert caller.total() == 0
    assert caller.rows("/v1/ledger") == []
    assert outcomes(caller) == [("k1", "action", "rejected")]
    assert caller.undo("u1", "k1").json() == {"undone": False, "effects": []}


def test_equal_requests_at_once_have_one_effect(caller: "Caller") -> None:
    """Eight equal requests at the same time: one works, the others wait for it and answer what it kept."""
    responses = at_once(8, lambda _: caller.count("k1", 3))
    assert {response.status_code for response in responses} == {201}
    assert len({response.content for response in responses}) == 1
    assert sum("Idempotency-Replayed" not in response.headers for response in responses) == 1
    assert caller.total() == 3


def test_undos_with_different_keys_at_once_have_one_effect(caller: "Caller") -> None:
    """Eight undos of one action, each under its own key, move back once."""
    caller.count("k1", 3)
    responses = at_once(8, lambda number: caller.undo(f"u{number}", "k1"))
    assert [response.status_code for response in responses] == [200] * 8
    assert [response.json()["undone"] for response in responses] == [True] * 8
    assert sum(len(response.json()["effects"]) for response in responses) == 1
    assert caller.total() == 0


def test_action_and_undo_at_once_leave_nothing(caller: "Caller") -> None:
    """Whoever of the two is first, the other sees it: applied and undone, or a tombstone; the counter is 0."""

    def race(number: int) -> requests.Response:
        pair = number // 2
        return caller.undo(f"u{pair}", f"k{pair}") if number % 2 else caller.count(f"k{pair}", 3, name=f"n{pair}")

    responses = at_once(16, race)
    for pair in range(8):
        action, undo = responses[2 * pair], responses[2 * pair + 1]
        assert caller.total(f"n{pair}") == 0
        assert (action.status_code, undo.json()["undone"]) in {(201, True), (409, False)}


def test_different_keys_at_once_all_count(caller: "Caller") -> None:
    """Requests under different keys on one row lose no update, and the first ones agree on who makes the row."""
    responses = at_once(16, lambda number: caller.count(f"k{number}", 1))
    assert [response.status_code for response in responses] == [201] * 16
    assert caller.total() == 16


def test_pages_of_the_books_join_up(caller: "Caller") -> None:
    """Ledger and barrier are read page by page without a gap or a repeat, and end with next_after null."""
    for number in range(7):
        caller.count(f"k{number}", number)
    for path in ("/v1/ledger", "/v1/barrier"):
        pages = [caller.page(path, after=0)]
        while (after := pages[-1]["next_after"]) is not None:
            pages.append(caller.page(path, after))
        seen = [row["key"] for page in pages for row in page["rows"]]
        assert seen == [f"k{number}" for number in range(7)]
    assert all(row["at"].endswith("+00:00") for row in caller.rows("/v1/ledger"))
