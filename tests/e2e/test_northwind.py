"""A Northwind folder through the whole product: its own addresses, its own stock, who comes first is served."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import Place, stop

ORDERS = """\
orderID,customerID,shipName,shipAddress,shipCity,shipRegion,shipPostalCode,shipCountry
1,ANNA1,Anna,1 Hohe Str.,Berlin,NULL,10115,Germany
2,BERT1,Bert,2 Hohe Str.,Berlin,NULL,10117,Germany
3,CARL1,Carl,3 Hohe Str.,Berlin,NULL,10119,Germany
4,DORA1,Dora,4 Hohe Str.,Berlin,NULL,NULL,Germany
5,EMIL1,Emil,5 Hohe Str.,Berlin,NULL,1A,Germany
6,FRED1,Fred,6 Hohe Str.,Berlin,NULL,10115,Germany
"""
LINES = """\
orderID,productID,unitPrice,quantity,discount
1,11,10.00,4,0
2,11,10.00,4,0.5
3,11,10.00,4,0
4,11,10.00,1,0
5,11,10.00,1,0
6,12,3.00,6,0
6,11,10.00,1,0
"""
PRODUCTS = "productID,productName,unitPrice,unitsInStock\n11,Cheese,10.00,10\n12,Tea,3.00,5\n"


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Place]:
    """A place where `saga dev` runs, and the folder `shop` beside it."""
    place = Place(tmp_path, tmp_path / "home")
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in (("orders.csv", ORDERS), ("order_details.csv", LINES), ("products.csv", PRODUCTS)):
        (folder / name).write_text(text)
    with place.running(["dev"], "ready") as process:
        yield place
        assert stop(process) == 0


def test_a_folder_is_run_with_its_own_stock(dev: Place) -> None:
    """Ten of a product serve two of three orders of four, whichever come first; an order of which one line is short takes
    nothing of the other; a bad postcode is undeliverable and one that is missing refuses the order. Typed again nothing is
    put on stock and nothing begins; the books agree."""
    command = ("orders", "submit", "shop", "--provision", "--wait", "--timeout", "60")
    value = json.loads(dev.run(*command, "-o", "json").out)
    assert (value["orders"], value["completed"], value["compensated"], value["halted"]) == (5, 2, 3, 0)
    assert value["reasons"] == [
        {"status": "compensated", "reason": "reserve_inventory: out_of_stock", "count": 2},
        {"status": "compensated", "reason": "validate_address: undeliverable", "count": 1},
    ]
    reason = "shipPostalCode: is NULL; an order needs the postcode of its ship address"
    assert value["refusals"] == [{"reference": "4", "reason": reason, "lines": "5"}]
    again = dev.run(*command)
    assert "submitted 0   already there 5" in again.out, again.err
    assert "compensated     2  reserve_inventory: out_of_stock" in again.out
    audit = json.loads(dev.run("audit", "-o", "json").out)
    assert (audit["violations"], audit["stock"]) == (
        [],
        {"initial": 15, "available": 7, "reserved": 0, "shipped": 8},
    )
