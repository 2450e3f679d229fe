"""Every order of a Northwind folder is an order or a refusal that names the column."""

from collections import Counter
from pathlib import Path

import pytest

from saga.errors import UsageError
from saga.fulfilment.intake import Found, Refused
from saga.fulfilment.models import Order
from saga.fulfilment.northwind import is_northwind, northwind_stock, read_northwind
from saga.fulfilment.order_rows import Reading

REAL = Path(__file__).parents[4] / "shared" / "data" / "northwind"
ORDER_COLUMNS = "orderID,customerID,shipName,shipAddress,shipCity,shipRegion,shipPostalCode,shipCountry"
ORDER = "10248,VINET,Vins et alcools,59 rue de l'Abbaye,Reims,NULL,51100,France"


def folder(
    tmp_path: Path,
    orders: tuple[str, ...] = (ORDER,),
    lines: tuple[str, ...] = ("10248,11,14.00,12,0",),
    products: tuple[str, ...] = ("11,22",),
) -> Path:
    """A folder of the layout with these rows."""
    for name, header, rows in (
        ("orders.csv", ORDER_COLUMNS, orders),
        ("order_details.csv", "orderID,productID,unitPrice,quantity,discount", lines),
        ("products.csv", "productID,unitsInStock", products),
    ):
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return tmp_path


def only(found: list[Found]) -> Found:
    [one] = found
    return one


def test_a_row_with_its_lines_is_an_order(tmp_path: Path) -> None:
    """Prices are what was paid, to the cent, half-up; NULL is nothing."""
    at = folder(tmp_path, lines=("10248,11,14.00,12,0", "10248,72,34.80,5,0.15", "10249,1,1,1,0"))
    order, refused = read_northwind(at)
    assert isinstance(order, Order)
    assert (order.order_id, order.customer_id, order.currency, order.country) == ("10248", "VINET", "USD", "France")
    assert [(it.sku, it.quantity, it.unit_price) for it in order.lines] == [("NW-11", 12, 1400), ("NW-72", 5, 2958)]
    assert (order.address.city, order.address.postcode, order.address.region) == ("Reims", "51100", None)
    assert northwind_stock(at) == {"NW-11": 22}
    assert refused == Refused(
        "order_details.csv line 4", "order_details.csv: line 4: is of order '10249', which orders.csv does not have"
    )


def test_a_folder_may_be_written_in_another_dialect(tmp_path: Path) -> None:
    """The files are read by the one CSV reader: semicolons and decimal commas, names in any case, an encoding that is said."""
    at = folder(tmp_path)
    (at / "order_details.csv").write_text("ORDERID;productid;unitPrice;quantity;discount\n10248;11;14,50;12,0;0,5\n")
    (at / "orders.csv").write_bytes(f"{ORDER_COLUMNS}\n{ORDER.replace('Reims', 'Rüti')}\n".encode("latin-1"))
    refused = only(list(read_northwind(at, reading=Reading("utf-8")))[:1])
    assert isinstance(refused, Refused)
    assert refused.reason.startswith("orders.csv: line 2: byte 48 is not UTF-8; a file in another encoding")
    order = only(list(read_northwind(at, reading=Reading("latin-1", "EUR"))))
    assert isinstance(order, Order)
    assert (order.address.city, order.currency, order.lines[0].unit_price) == ("Rüti", "EUR", 725)


def test_a_broken_line_refuses_the_orders_that_it_may_be_of(tmp_path: Path) -> None:
    """Half an order is none, and nobody can say whose a line is that cannot be read."""
    orders = tuple(ORDER.replace("10248", number) for number in ("1", "2", "3"))
    lines = ("1,11,14.00,1,0", "1,11,14.00", "2,11,14.00,1,0", "3,11,14.00,1,0")
    found = list(read_northwind(folder(tmp_path, orders=orders, lines=lines)))
    why = "order_details.csv: line 3: has 3 cells instead of 5"
    assert found[:2] == [Refused("1", why), Refused("2", why)]
    assert isinstance(found[2], Order)


@pytest.mark.parametrize(
    ("orders", "lines", "says"),
    [
        (ORDER.replace("51100", "NULL"), "10248,11,14.00,12,0", "shipPostalCode: is NULL"),
        (ORDER, "10248,11,14.00,many,0", "order_details.csv: a quantity, price or discount is no number"),
        (ORDER, "10248,11,much,1,0", "order_details.csv: a quantity, price or discount is no number"),
        (ORDER, "10248,11,14.00,0,0", "lines.0.quantity"),
        (ORDER, "10249,11,14.00,1,0", "lines: "),
    ],
)
def test_what_is_no_order_is_refused_by_its_column(tmp_path: Path, orders: str, lines: str, says: str) -> None:
    """One refusal with the order's number, and the reading goes on."""
    found = list(read_northwind(folder(tmp_path, orders=(orders, ORDER.replace("10248", "10250")), lines=(lines,))))
    assert isinstance(found[0], Refused)
    assert isinstance(found[1], Refused)
    assert found[0].reference == "10248"
    assert found[0].reason.startswith(says)
    assert found[1].reference == "10250"


def test_a_folder_of_something_else_is_a_usage_error(tmp_path: Path) -> None:
    """It names the file and the column."""
    assert not is_northwind(tmp_path)
    at = folder(tmp_path)
    assert is_northwind(at)
    (at / "orders.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"orders.csv: has no column orderID"):
        list(read_northwind(at))
    (at / "products.csv").write_text("productID,unitsInStock\n1,some\n")
    with pytest.raises(UsageError, match="product 1: unitsInStock: 'some' is no number"):
        northwind_stock(at)
    (at / "order_details.csv").write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(UsageError, match=r"order_details.csv: line 1: byte 0 is NUL"):
        list(read_northwind(at))


def test_the_real_folder_is_read_to_its_end() -> None:
    """Of 830 orders 19, all to Cork, name no postcode; 77 products have 3,119 units on the shelf."""
    if not REAL.exists():
        pytest.skip("NOT CHECKED: the Northwind files are not beside the checkout")
    counts = Counter(type(it).__name__ for it in read_northwind(REAL))
    assert counts == {"Order": 811, "Refused": 19}
    stock = northwind_stock(REAL)
    assert (len(stock), sum(stock.values())) == (77, 3_119)
