"""What one screen says of one saga that its journal does not: levels of the definition, the audit's commands."""

from saga.core.definition import Saga, parallel, readonly, sequence
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Address, Order
from saga.surfaces.audit_report import RULES, AuditReport, Check, render
from saga.surfaces.invariants import Invariant, Violation
from saga.surfaces.showing import levels


def test_levels_of_the_product() -> None:
    """Steps that stand side by side have one number; the next one counts on."""
    found = levels(fulfil_order)
    assert [found[name] for name in ("calculate_tax", "screen_fraud", "reserve_inventory", "confirm_order")] == [
        (1, True),
        (1, True),
        (2, False),
        (10, False),
    ]


def test_a_branch_of_several_steps_runs_beside_the_other_all_the_way() -> None:
    """The second step of a branch is a level deeper, and still beside the other branch; what waits for both is not."""

    def step(order: Order) -> Address:
        return order.address

    names = ("first", "second", "beside", "after")
    first, second, beside, after = (readonly(step, name=name) for name in names)
    saga = Saga(
        "s",
        version=1,
        input=Order,
        entity=lambda order: order.order_id,
        steps=[parallel(sequence(first, second), beside), after],
    )
    assert [levels(saga)[name] for name in names] == [(1, True), (2, True), (1, True), (3, False)]


def report(*violations: Violation) -> AuditReport:
    return AuditReport(
        counts={"completed": 3},
        read_counts={},
        checks=tuple(Check(invariant, 0, 3) for invariant in RULES),
        violations=violations,
        waiting=(),
        money={},
        stock={"initial": 0},
        in_flight_money={},
        in_flight_stock={},
        in_flight_label_count=0,
        notes=(),
        fired={},
        floors={},
    )


def test_a_violation_names_the_command_that_shows_its_order() -> None:
    """Each order once, two of them, and how many more; what belongs to no saga has no command, and an id that a shell would
    take for something else is named by its saga."""
    orders = [("SO-1", "s1"), ("SO-1", "s1"), ("$(x)", "s2"), ("SO-3", "s3")]
    found = [Violation(Invariant.MONEY, order_id, saga_id, "no") for order_id, saga_id in orders]
    lines = render(report(*found)).splitlines()
    assert "       → saga show SO-1 --attempts · saga show s2 --attempts   and 1 more" in lines
    assert "→" not in render(report(Violation(Invariant.STOCK, "", "", "SKU A differs")))
    assert "→" not in render(report())
