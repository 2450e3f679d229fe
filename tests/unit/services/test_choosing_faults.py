"""How a fault is chosen, without a server."""

from services.skeleton.faults import Faults, Rule, Script, fraction

OPERATION = "POST /v1/captures"


def chosen(script: Script, keys: list[str], order_id: str | None = None) -> list[str | None]:
    faults = Faults()
    faults.replace(script)
    found = [faults.choose(OPERATION, key, order_id) for key in keys]
    return [fault.name if fault else None for fault in found]


def test_choice_does_not_depend_on_what_came_before() -> None:
    """The fault of a key is the same in whatever order the keys come."""
    script = Script(seed=3, rules=(Rule(fault="refuse", probability=0.3), Rule(fault="latency", probability=0.3)))
    keys = [f"k{number}" for number in range(200)]
    forward = dict(zip(keys, chosen(script, keys), strict=True))
    backward = dict(zip(reversed(keys), chosen(script, keys[::-1]), strict=True))
    assert forward == backward
    assert {None, "refuse", "latency"} == set(forward.values())


def test_each_attempt_is_chosen_anew() -> None:
    """A key that meets a fault at its first attempt does not meet it for ever."""
    script = Script(seed=1, rules=(Rule(fault="refuse", probability=0.5),))
    assert {None, "refuse"} == set(chosen(script, ["k"] * 40))


def test_probability_is_the_share_that_fires() -> None:
    """Of 10,000 keys a rule of 2 % fires on about 200."""
    script = Script(seed=5, rules=(Rule(fault="refuse", probability=0.02),))
    assert 150 < chosen(script, [f"k{number}" for number in range(10_000)]).count("refuse") < 250
    assert 0 <= fraction(5, 0, "k", 1) < 1


def test_first_rule_wins_and_times_bounds_it() -> None:
    """A rule with `times` fires that often over all keys, then the next rule has its turn."""
    script = Script(rules=(Rule(fault="refuse", times=2), Rule(fault="latency")))
    assert chosen(script, ["a", "b", "c"]) == ["refuse", "refuse", "latency"]


def test_rule_of_orders_needs_an_order() -> None:
    """A request without order id matches no rule that names orders, and one of another operation none that names this."""
    script = Script(rules=(Rule(fault="refuse", order_ids=("SO-1",)), Rule(fault="late", operation="POST /v1/other")))
    assert chosen(script, ["k"]) == [None]
    assert chosen(script, ["k"], "SO-1") == ["refuse"]
