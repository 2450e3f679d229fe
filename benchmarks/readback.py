"""What it costs to read a value back before it is kept: the JSON of a value alone, and with its reading and comparison.

python -m benchmarks.readback
"""

import statistics
import time
from collections.abc import Callable

from pydantic import BaseModel

from saga.fulfilment.models import Order, TaxQuote
from saga.runtime.readback import written
from saga.surfaces.samples import sample

SIZES = (1, 3, 100, 2_000)
ROUNDS, CALLS = 15, 3_000


def order_of(lines: int) -> Order:
    line = {"sku": "LAMP", "quantity": 1, "unit_price": 4900}
    address = {"name": "Ada Example", "street": "1 Example Street", "city": "London", "postcode": "N1 1AA"}
    values = {
        "order_id": "SO-1", "customer_id": "C-1", "currency": "GBP", "country": "GB", "address": address, "payment_method": "pm_card",
        "email": "ada@example.org", "lines": [{**line, "sku": f"LAMP-{number}"} for number in range(lines)],
    }  # fmt: skip
    return Order.model_validate(values)


def took_us(work: Callable[[], object], calls: int) -> float:
    """Microseconds of processor time for each call."""
    began = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - began) * 1e6 / calls


def line(name: str, value: BaseModel, calls: int) -> None:
    bare, whole = [], []
    for _ in range(ROUNDS):
        bare.append(took_us(value.model_dump_json, calls))
        whole.append(took_us(lambda: written(value, "input"), calls))
    print(f"{name:<22} JSON alone {statistics.median(bare):9.1f} us   read back too {statistics.median(whole):9.1f} us")


def main() -> None:
    answer = TaxQuote.model_validate(sample(TaxQuote, {"currency": "GBP"}, 1))
    line("an answer (tax)", answer, CALLS)
    for lines in SIZES:
        line(f"an order of {lines} lines", order_of(lines), max(10, CALLS // lines))


if __name__ == "__main__":
    main()
