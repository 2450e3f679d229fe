"""Ids as shops have them, for tests that ask whether an id goes through something."""

from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from saga.fulfilment.fields import Id

ODD = (
    "#1001", "A/B-7", "SO 1001", "Ünïcode", "A/B #7 ü", "50%", "a?b&c=d", "%2F", "a;b", ".hidden", "a\\b", "'; DROP TABLE orders--",
    "<b>1</b>", "注文１", "🧦", "$(id)", "@x", "~", "a..b", "x=1", "Your order", "+1", '"q"', "a:b", "ü" * 64,
)  # fmt: skip
"""Each is an id, and each is a trap for somebody."""
_ID: TypeAdapter[str] = TypeAdapter(Id)


def is_id(text: str) -> bool:
    """Whether an order takes it."""
    try:
        _ID.validate_python(text)
    except ValidationError:
        return False
    return True


IDS = st.sampled_from(ODD) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=64).filter(is_id)
