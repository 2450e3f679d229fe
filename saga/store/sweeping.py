"""How far a sweep pushes a due saga: doubling with every push in a row that nobody moved it, up to a minute."""

PUSH_CAP_S = 60.0
MOST_DOUBLINGS = 16
"""Beyond this the cap has long been reached, and the power would only grow."""


def pushed_s(push_s: float, pushes: int) -> float:
    """Seconds until a saga is due again that was pushed `pushes` times before."""
    return min(PUSH_CAP_S, push_s * 2.0 ** min(pushes, MOST_DOUBLINGS))
