"""The fault script and the oracle are functions of seed and order id, and nothing else."""

import pytest

from saga.core.states import SagaStatus
from saga.fulfilment.models import Address, Order, OrderLine
from saga.testing.oracle import (
    BUSINESS_FAULTS,
    COMPLETED,
    SERVICES,
    TECHNICAL_FAULTS,
    FaultScript,
    LegalEnd,
    legal_end,
    legal_ends,
    looked_hard_enough,
)

COUNT = 600
ORDER_IDS = [f"SO-{number}" for number in range(COUNT)]
SCRIPT = FaultScript(seed=7, business_share=0.3, technical_share=0.08)


def order(
    order_id: str, *, method: str = "pm_card", postcode: str = "1", country: str = "France", price: int = 100
) -> Order:
    return Order(
        order_id=order_id,
        customer_id="7",
        currency="EUR",
        country=country,
        address=Address(name="A", street="B", city="C", postcode=postcode),
        lines=(OrderLine(sku="mug", quantity=3, unit_price=price), OrderLine(sku="tin", quantity=1, unit_price=5)),
        payment_method=method,
    )


def with_fault(fault: str | None) -> str:
    """An order id that meets this business fault."""
    return next(order_id for order_id in ORDER_IDS if SCRIPT.business_fault(order_id) == fault)


def test_the_same_seed_gives_the_same_script() -> None:
    """Neither the order in which ids are asked nor the machine matters, and another seed is another script."""
    faults = {order_id: SCRIPT.business_fault(order_id) for order_id in ORDER_IDS}
    again = FaultScript(seed=7, business_share=0.3)
    assert faults == {order_id: again.business_fault(order_id) for order_id in reversed(ORDER_IDS)}
    assert faults != {order_id: FaultScript(seed=8, business_share=0.3).business_fault(order_id) for order_id in faults}


def test_the_share_is_met_by_every_kind() -> None:
    """About as many orders as asked for meet a business fault, and each kind of it is among them."""
    met = [fault for order_id in ORDER_IDS if (fault := SCRIPT.business_fault(order_id))]
    assert 0.2 * COUNT < len(met) < 0.4 * COUNT
    assert all(met.count(kind) > 0.05 * COUNT for kind in BUSINESS_FAULTS)


def test_no_share_is_no_fault() -> None:
    """A script of nothing leaves everybody alone."""
    script = FaultScript(seed=7, business_share=0.0, technical_share=0.0)
    assert all(script.business_fault(order_id) is None for order_id in ORDER_IDS)
    assert all(script.rules(service, ORDER_IDS) == [] for service in SERVICES)


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (None, COMPLETED),
        ("declined", LegalEnd(SagaStatus.COMPENSATED, "declined")),
        ("out_of_stock", LegalEnd(SagaStatus.COMPENSATED, "out_of_stock")),
        ("undeliverable", LegalEnd(SagaStatus.COMPENSATED, "undeliverable")),
    ],
)
def test_a_business_fault_is_the_cause_of_the_end(fault: str | None, end: LegalEnd) -> None:
    """Each order has one legal end: completed without an injected no, else compensated with that no as its cause."""
    prepared = SCRIPT.prepare(order(with_fault(fault)))
    assert legal_end(prepared, SCRIPT) == end
    assert (prepared.payment_method == "pm_declined") is (fault == "declined")


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        (order(with_fault(None), method="pm_capture_declined"), "declined"),
        (order(with_fault(None), method="cash"), "declined"),
        (order(with_fault(None), postcode="undeliverable"), "undeliverable"),
        (order(with_fault(None), country="Atlantis"), "undeliverable"),
        (order(with_fault(None), price=10**9), "fraud_suspected"),
        (order(with_fault("declined"), postcode="undeliverable"), "undeliverable"),
        (order(with_fault("undeliverable"), method="pm_declined"), "undeliverable"),
        (order(with_fault(None), postcode="undeliverable", price=10**9), ""),
    ],
)
def test_what_the_participants_refuse_by_themselves(changed: Order, cause: str) -> None:
    """The oracle knows the participants' own rules, the first step that says no is the cause, and a race has none."""
    assert legal_end(changed, SCRIPT) == LegalEnd(SagaStatus.COMPENSATED, cause)


def test_stock_is_there_for_everybody_else() -> None:
    """Only orders that are made out of stock take none, so nobody's stock depends on who comes first."""
    orders = [order(order_id) for order_id in ORDER_IDS]
    refused = sum(SCRIPT.business_fault(order_id) == "out_of_stock" for order_id in ORDER_IDS)
    stock = SCRIPT.stock_for(orders)
    assert stock == {"mug": 3 * (COUNT - refused), "tin": COUNT - refused}
    ends = legal_ends([SCRIPT.prepare(one) for one in orders], SCRIPT, stock)
    assert sum(end.cause == "out_of_stock" for end in ends.values()) == refused


def test_a_sku_that_nobody_has_is_out_of_stock() -> None:
    """An order for more than was ever there ends out of stock, whoever comes first."""
    one = order(with_fault(None))
    assert legal_end(one, SCRIPT, {"mug": 3, "tin": 1}) == COMPLETED
    assert legal_end(one, SCRIPT, {"mug": 2, "tin": 1}) == LegalEnd(SagaStatus.COMPENSATED, "out_of_stock")
    assert legal_end(one, SCRIPT, {"mug": 3}) == LegalEnd(SagaStatus.COMPENSATED, "out_of_stock")


def test_rules_refuse_by_name_before_anything_fires_by_chance() -> None:
    """Rejections stand first and name exactly their orders; every technical kind follows with its part of the share."""
    rules = SCRIPT.rules("inventory", ORDER_IDS)
    assert rules[0]["fault"] == "reject"
    assert rules[0]["operation"] == "POST /v1/reservations"
    assert rules[0]["code"] == "out_of_stock"
    wanted = sorted(order_id for order_id in ORDER_IDS if SCRIPT.business_fault(order_id) == "out_of_stock")
    assert rules[0]["order_ids"] == wanted
    assert [rule["fault"] for rule in rules[1:]] == list(TECHNICAL_FAULTS)
    assert {rule["probability"] for rule in rules[1:]} == {0.08 / len(TECHNICAL_FAULTS)}


@pytest.mark.parametrize(("service", "code"), [("shipping", "undeliverable"), ("payment", None), ("tax", None)])
def test_each_service_gets_its_own_rejections(service: str, code: str | None) -> None:
    """A service is told to reject only what it can; declined orders are declined by their payment method."""
    codes = {rule["code"] for rule in SCRIPT.rules(service, ORDER_IDS) if rule["fault"] == "reject"}
    assert codes == ({code} if code else set())


@pytest.mark.parametrize("values", [{"business_share": 1.5}, {"technical_share": -0.1}, {"kinds": ("explode",)}])
def test_a_script_that_cannot_be_is_refused(values: dict[str, object]) -> None:
    """Shares are fractions, and kinds are those that the services know."""
    with pytest.raises(ValueError, match=r"fractions|not among"):
        FaultScript(seed=1, **values)  # type: ignore[arg-type]


def test_looked_hard_enough_names_what_was_rare() -> None:
    """A run in which too few faults fired fails, by name and in sum."""
    fired = {"late": 3, "refuse": 0, "kill before send": 2}
    assert looked_hard_enough(fired, {"late": 3, "*": 5}) == {}
    assert looked_hard_enough(fired, {"late": 4, "refuse": 1, "latency": 1, "*": 6}) == {
        "late": (3, 4),
        "refuse": (0, 1),
        "latency": (0, 1),
        "*": (5, 6),
    }
