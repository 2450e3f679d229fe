"""Idempotency keys: readable in the journal, short on the wire, and never shared by two shops or two environments."""

import re

from hypothesis import given
from hypothesis import strategies as st

from saga.core.keys import logical_key, wire_key

GOLDEN = "5tctapp7gnzmzfuvtp5igvfxfqbvxauj"

names = st.text(st.characters(codec="utf-8", exclude_characters="\x1f"), min_size=1, max_size=20)


def test_the_logical_key_reads_like_the_node() -> None:
    """Definition, entity, run, step, direction, generation; one key per node and run."""
    assert (
        logical_key("fulfil_order", "order-7", 1, "capture_payment:a") == "fulfil_order:order-7:1:capture_payment:a:1"
    )


def test_the_wire_key_never_changes() -> None:
    """A restored backup must send the keys it sent before: this one is frozen."""
    assert wire_key("production", "shop", "fulfil_order:order-7:1:capture_payment:a:1") == GOLDEN


@given(names, names, names, st.integers(min_value=20, max_value=255))
def test_alphabet_and_length(environment: str, tenant: str, logical: str, key_max: int) -> None:
    """`a-z2-7`, at most what the participant takes and 32, and never below 100 bits."""
    key = wire_key(environment, tenant, logical, key_max)
    assert re.fullmatch(r"[a-z2-7]+", key)
    assert len(key) == min(key_max, 32)


@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_environments_and_tenants_are_kept_apart(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """Two keys are equal only when environment, tenant and logical key all are."""
    assert (wire_key(*one) == wire_key(*other)) == (one == other)


def test_parts_do_not_run_into_one_another() -> None:
    """Moving a letter from one part to the next gives another key."""
    assert wire_key("ab", "c", "k") != wire_key("a", "bc", "k")


def test_runs_nodes_and_directions_have_keys_of_their_own() -> None:
    """A second run of an order and an undo are business intents of their own; an attempt is not in the key at all."""
    keys = {logical_key("d", "e", run, node) for run in (1, 2) for node in ("a:a", "a:c", "b:a")}
    assert len(keys) == 6


@given(st.text(), st.text(), st.integers(min_value=1), st.integers(min_value=1))
def test_entities_with_colons_do_not_collide(one: str, other: str, run: int, other_run: int) -> None:
    """An order id may hold anything; two orders never have one logical key."""
    same = logical_key("d", one, run, "a:a") == logical_key("d", other, other_run, "a:a")
    assert same == ((one, run) == (other, other_run))
