"""A cut of the chaos run that is small enough for every commit: real processes, kills, faults, the oracle, the audit."""

import random
from pathlib import Path

import pytest

from saga.fulfilment.models import Address, Order, OrderLine
from tests.chaos.run import Plan, run

SKUS = [f"SKU-{number}" for number in range(30)]


def orders(count: int, seed: int) -> list[Order]:
    """Orders of one to six lines."""
    dice = random.Random(seed)
    return [
        Order(
            order_id=f"SO-{number}",
            customer_id=f"C-{number}",
            currency="GBP",
            country="United Kingdom",
            address=Address(name="A Customer", street="1 High Street", city="London", postcode="N1 1AA"),
            lines=tuple(
                OrderLine(sku=sku, quantity=dice.randint(1, 9), unit_price=dice.randint(5, 5000))
                for sku in dice.sample(SKUS, dice.randint(1, 6))
            ),
            payment_method="pm_card",
        )
        for number in range(count)
    ]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("driver", ["process", "task"])
def test_every_order_ends_where_the_oracle_says(
    driver: str, empty_postgres_url: str, amqp_url: str, tmp_path: Path
) -> None:
    """Two workers, every kind of fault, a kill -9 before send, in the call, before commit and in rollback: nothing
    halted, nothing twice, nothing forgotten, judged by the services' own ledgers."""
    plan = Plan(
        orders(80, 3),
        seed=3,
        technical_share=0.08,
        business_share=0.3,
        kills_each=1,
        bound_s=300,
        fault_floor=1,
        driver=driver,
    )
    report = run(plan, tmp_path, empty_postgres_url, amqp_url)
    assert report["violations"] == 0, report
    assert report["completed"] + report["compensated"] == len(plan.orders), report  # type: ignore[operator]
    assert not report["too_few"], f"this run looked too little: {report}"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("driver", ["process", "task"])
def test_everything_ends_when_the_broker_is_stopped_in_mid_run(
    driver: str, empty_postgres_url: str, amqp_url: str, tmp_path: Path
) -> None:
    """The broker goes away when some orders have ended and never comes back."""
    plan = Plan(orders(40, 4), seed=4, technical_share=0.0, kills_each=0, stop_broker=True, bound_s=200, driver=driver)
    report = run(plan, tmp_path, empty_postgres_url, amqp_url)
    assert report["violations"] == 0, report
    assert report["completed"] + report["compensated"] == len(plan.orders), report  # type: ignore[operator]
    assert report["broker_was_cut_with_open_orders"], report
