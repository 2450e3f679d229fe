"""Orders and files of orders for the tests of the command line."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def order(order_id: str, **changes: Any) -> dict[str, Any]:
    """An order as a shop sends it."""
    return {
        "order_id": order_id,
        "customer_id": "C-1",
        "currency": "GBP",
        "country": "Germany",
        "address": {"name": "A Person", "street": "1 Way", "city": "Berlin", "postcode": "10115"},
        "lines": [{"sku": "MUG", "quantity": 2, "unit_price": 450}],
        "payment_method": "pm_card",
        **changes,
    }


def json_lines(orders: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(one) + "\n" for one in orders)


def invoice(number: str, *lines: tuple[str, int, str]) -> str:
    """Rows of one invoice in the Online Retail layout: SKU, quantity, price."""
    return "".join(
        f"{number},{sku},A THING,{quantity},2010-12-01 08:26:00,{price},17850.0,United Kingdom\n"
        for sku, quantity, price in lines
    )
