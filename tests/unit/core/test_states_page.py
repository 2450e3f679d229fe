"""docs/states.md says what the tables and the machine say."""

from docs import generate_states
from saga.core.states import STATUS_AFTER, HaltReason, NodePhase


def test_the_page_is_up_to_date() -> None:
    """Whoever changes a table or a rule writes the page again: `python -m docs.generate_states`."""
    assert generate_states.PAGE.read_text(encoding="utf-8") == generate_states.page()


def test_every_transition_phase_and_reason_is_on_the_page() -> None:
    """A reader finds each of them; none was left out by the generator."""
    page = generate_states.page()
    names = {kind for _, kind in STATUS_AFTER} | set(NodePhase) | set(HaltReason)
    assert [name for name in names if f"`{name}`" not in page] == []


def test_there_is_a_letter_for_every_edge() -> None:
    """No edge of the diagram is dropped for want of letters."""
    drawn = [line for line in generate_states.diagram() if " --> " in line and ": " in line]
    assert len(drawn) == len(generate_states.edges())
