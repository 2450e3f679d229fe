"""What the suite does when a server is there, missing, required, or given and dead."""

import pytest

from tests.services_available import MISSING, Peer
from tests.waiting import wait_until

VARIABLE = "SAGA_TEST_PEER_OF_THIS_TEST_URL"


def _peer(*answering: str, default_urls: tuple[str, ...] = ("a", "b")) -> Peer:
    return Peer("peer", VARIABLE, default_urls, lambda url: None if url in answering else "refused")


def test_the_given_url_comes_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says where the server is gets that one."""
    monkeypatch.setenv(VARIABLE, "given")
    assert _peer("a", "given").find() == "given"


def test_a_given_url_that_is_dead_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address is no reason to test against another server in silence."""
    monkeypatch.setenv(VARIABLE, "given")
    with pytest.raises(pytest.fail.Exception, match="refused"):
        _peer("a").find()


def test_the_first_default_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults are tried in order, and none is an answer too."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert _peer("b").find() == "b"
    assert _peer().find() is None


def test_missing_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SAGA_TEST_REQUIRE a missing server skips, in the words that the terminal summary looks for."""
    monkeypatch.setenv("SAGA_TEST_REQUIRE", "another")
    with pytest.raises(pytest.skip.Exception, match=f"{MISSING}peer"):
        _peer().is_missing("nothing answers")


def test_missing_and_required_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAGA_TEST_REQUIRE turns the skip into a failure."""
    monkeypatch.setenv("SAGA_TEST_REQUIRE", "another, peer")
    with pytest.raises(pytest.fail.Exception, match="SAGA_TEST_REQUIRE"):
        _peer().is_missing("nothing answers")


def test_waiting_returns_the_first_truthy_answer() -> None:
    """The answer of the condition is handed on, so a test need not ask twice."""
    answers = iter([0, None, "there"])
    assert wait_until(lambda: next(answers), 5) == "there"


def test_waiting_ends_with_what_never_came() -> None:
    """The bound holds, and the message names the condition and its last answer."""
    with pytest.raises(AssertionError, match=r"waited 0.05 s for the order to end; the last answer was \[\]"):
        wait_until(list, 0.05, what="the order to end")
