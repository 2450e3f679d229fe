"""What shops export is an order with the very sums of the export, or a refusal that names the sum that does not hold."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from saga.errors import UsageError
from saga.fulfilment.intake import Found, Refused, Skipped
from saga.fulfilment.models import Order
from saga.fulfilment.order_files import read_orders
from saga.fulfilment.order_rows import Reading
from saga.fulfilment.text_files import Meter

SHOPIFY_HEADER = (
    "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,Subtotal,Shipping,Taxes,Total,"
    "Discount Code,Discount Amount,Shipping Method,Created at,Lineitem quantity,Lineitem name,Lineitem price,"
    "Lineitem compare at price,Lineitem sku,Lineitem requires shipping,Lineitem taxable,Lineitem fulfillment status,Billing Name,"
    "Billing Street,Billing Address1,Billing Address2,Billing Company,Billing City,Billing Zip,Billing Province,Billing Country,"
    "Billing Phone,Shipping Name,Shipping Street,Shipping Address1,Shipping Address2,Shipping Company,Shipping City,Shipping Zip,"
    "Shipping Province,Shipping Country,Shipping Phone,Notes,Note Attributes,Cancelled at,Payment Method,Payment Reference,"
    "Refunded Amount,Vendor,Outstanding Balance,Employee,Location,Device ID,Id,Tags,Risk Level,Source,Lineitem discount,Tax 1 Name,"
    "Tax 1 Value,Phone,Receipt Number,Duties,Billing Province Name,Shipping Province Name,Payment ID,Payment Terms Name,"
    "Next Payment Due At,Payment References"
)
SHOPIFY = {
    "Name": "#1001", "Email": "ada@example.org", "Financial Status": "paid", "Fulfillment Status": "unfulfilled", "Currency": "CAD",
    "Subtotal": "30.50", "Shipping": "5.00", "Taxes": "1.78", "Total": "37.28", "Discount Amount": "0.00",
    "Created at": "2026-11-28 10:00:00 -0500", "Lineitem quantity": "2", "Lineitem name": 'Lamp, 12"', "Lineitem price": "10.25",
    "Lineitem sku": "LAMP", "Shipping Name": "Ada Example", "Shipping Street": "1 Main St, Unit 2", "Shipping Address1": "1 Main St",
    "Shipping Address2": "Unit 2", "Shipping Company": "Ada & Co", "Shipping City": "Ottawa", "Shipping Zip": "'K1A 0B1",
    "Shipping Province": "ON", "Shipping Country": "CA", "Shipping Phone": "+1 613 555 0100",
    "Notes": 'Please ring\nthe "second" bell, twice', "Payment Method": "Shopify Payments", "Refunded Amount": "0.00",
    "Lineitem discount": "0.00", "Duties": "",
}  # fmt: skip
SHOPIFY_MORE = {
    "Name": "#1001", "Email": "ada@example.org", "Created at": "2026-11-28 10:00:00 -0500", "Lineitem quantity": "1",
    "Lineitem name": "Bulb", "Lineitem price": "10.00", "Lineitem sku": "BULB-1", "Lineitem discount": "0.00",
}  # fmt: skip

WOO_HEADER = (
    "order_id,order_number_formatted,order_number,order_date,status,shipping_total,shipping_tax_total,fee_total,fee_tax_total,"
    "tax_total,discount_total,order_total,refunded_total,order_currency,payment_method,shipping_method,customer_id,"
    "billing_first_name,billing_last_name,billing_company,billing_email,billing_phone,billing_address_1,billing_address_2,"
    "billing_postcode,billing_city,billing_state,billing_country,shipping_first_name,shipping_last_name,shipping_company,"
    "shipping_address_1,shipping_address_2,shipping_postcode,shipping_city,shipping_state,shipping_country,customer_note,item_id,"
    "item_product_id,item_name,item_sku,item_quantity,item_subtotal,item_subtotal_tax,item_total,item_total_tax,item_refunded,"
    "item_refunded_qty,item_meta,shipping_items,fee_items,tax_items,coupon_items,refunds,order_notes,download_permissions"
)
WOO = {
    "order_id": "771", "order_number": "2001", "status": "processing", "shipping_total": "4.90", "shipping_tax_total": "0.93",
    "fee_total": "0.00", "tax_total": "9.20", "discount_total": "4.00", "order_total": "57.60", "refunded_total": "0.00",
    "order_currency": "EUR", "customer_id": "17", "billing_first_name": "Zoë", "billing_last_name": "Muster",
    "billing_email": "zoe@example.org", "billing_address_1": "Weg 1", "billing_postcode": "10115", "billing_city": "Berlin",
    "billing_state": "DE-BE", "billing_country": "DE", "shipping_first_name": "Zoë", "shipping_last_name": "Muster",
    "shipping_address_1": "Straße 5", "shipping_address_2": "Hof", "shipping_postcode": "10117", "shipping_city": "Berlin",
    "shipping_country": "DE", "customer_note": "eins\nzwei", "item_sku": "TASSE", "item_quantity": "3", "item_subtotal": "31.50",
    "item_total": "28.50", "item_refunded": "0.00", "item_refunded_qty": "0",
}  # fmt: skip
WOO_MORE = WOO | {"item_sku": "KANNE", "item_quantity": "1", "item_subtotal": "16.00", "item_total": "15.00"}

ADVANCED_HEADER = (
    "Order Number|Order Status|Order Date|Customer Note|First Name (Billing)|Last Name (Billing)|Company (Billing)|"
    "Address 1&2 (Billing)|City (Billing)|State Code (Billing)|Postcode (Billing)|Country Code (Billing)|Email (Billing)|"
    "Phone (Billing)|First Name (Shipping)|Last Name (Shipping)|Address 1&2 (Shipping)|City (Shipping)|State Code (Shipping)|"
    "Postcode (Shipping)|Country Code (Shipping)|Payment Method Title|Cart Discount Amount|Order Subtotal Amount|"
    "Shipping Method Title|Order Shipping Amount|Order Refund Amount|Order Total Amount|Order Total Tax Amount|SKU|Item #|Item Name|"
    "Quantity (- Refund)|Item Cost|Coupon Code|Discount Amount|Discount Amount Tax"
)
ADVANCED = {
    "Order Number": "3001", "Order Status": "Completed", "First Name (Billing)": "Vi", "Last Name (Billing)": "R",
    "Address 1&2 (Billing)": "A498, Block K", "City (Billing)": "Bengaluru", "State Code (Billing)": "KA",
    "Postcode (Billing)": "560100", "Country Code (Billing)": "IN", "Email (Billing)": "vi@example.org",
    "Cart Discount Amount": "0", "Order Subtotal Amount": "411.86", "Order Shipping Amount": "0", "Order Refund Amount": "0",
    "Order Total Amount": "486.00", "Order Total Tax Amount": "74.14", "SKU": "SHJ125", "Item #": "1",
    "Quantity (- Refund)": "2", "Item Cost": "205.93",
}  # fmt: skip
LAYOUTS = {name: next(csv.reader([text])) for name, text in (("shopify", SHOPIFY_HEADER), ("woo", WOO_HEADER))}
LAYOUTS["advanced"] = next(csv.reader([ADVANCED_HEADER], delimiter="|"))


def text_of(header: list[str], *rows: dict[str, str], **dialect: Any) -> str:
    text = StringIO(newline="")
    writer = csv.DictWriter(text, header, restval="", **dialect)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def found(
    tmp_path: Path, layout: str, *rows: dict[str, str], reading: Reading | None = None, meter: Meter | None = None
) -> list[Found]:
    path = tmp_path / "orders.csv"
    path.write_bytes(text_of(LAYOUTS[layout], *rows).encode())
    return list(read_orders(path, meter, reading or Reading()))


def test_an_order_of_shopify(tmp_path: Path) -> None:
    """Its rows are one order, also when the later ones leave empty what the first said, and a note has line breaks."""
    meter = Meter()
    (order,) = found(tmp_path, "shopify", SHOPIFY, SHOPIFY_MORE, meter=meter)
    assert isinstance(order, Order)
    assert order.model_dump(mode="json", exclude={"lines", "address"}) == {
        "order_id": "#1001", "customer_id": "guest", "currency": "CAD", "country": "CA", "payment_method": "pm_card",
        "email": "ada@example.org",
    }  # fmt: skip
    assert order.address.model_dump(exclude_none=True) == {
        "name": "Ada Example", "street": "1 Main St", "city": "Ottawa", "postcode": "K1A 0B1", "region": "ON",
        "street2": "Unit 2", "company": "Ada & Co", "phone": "+1 613 555 0100",
    }  # fmt: skip
    assert [(it.sku, it.quantity, it.unit_price) for it in order.lines] == [("LAMP", 2, 1025), ("BULB-1", 1, 1000)]
    assert (meter.lines.read, meter.lines.in_orders, meter.lines.empty) == (4, 3, 1)


def test_orders_of_woocommerce(tmp_path: Path) -> None:
    """The total of a line, after discounts and without tax, is the price of its pieces; without an address for shipping the
    parcel goes to that of the bill."""
    (order,) = found(tmp_path, "woo", WOO, WOO_MORE)
    assert isinstance(order, Order)
    assert (order.order_id, order.customer_id, order.currency, order.country) == ("2001", "17", "EUR", "DE")
    assert (order.address.name, order.address.street, order.address.postcode) == (
        "Zoë Muster",
        "Straße 5",
        "10117",
    )
    assert [(it.sku, it.quantity, it.unit_price) for it in order.lines] == [("TASSE", 3, 950), ("KANNE", 1, 1500)]
    bare = {name: "" for name in LAYOUTS["woo"] if name.startswith("shipping_") and "total" not in name}
    (order,) = found(tmp_path, "woo", WOO | bare, WOO_MORE | bare | {"customer_id": "0"})[:1]
    assert order == Refused("2001", "line 4: customer_id: differs from that of the order's first line")
    (order,) = found(tmp_path, "woo", *[row | bare | {"customer_id": "0"} for row in (WOO, WOO_MORE)])
    assert isinstance(order, Order)
    assert (order.customer_id, order.address.street, order.address.region) == ("guest", "Weg 1", "DE-BE")


def test_an_order_of_woocommerce_without_a_number_has_its_id(tmp_path: Path) -> None:
    """Older releases write a number only where another extension makes it."""
    bare = {"order_number": ""}
    (order,) = found(tmp_path, "woo", WOO | bare, WOO_MORE | bare)
    assert isinstance(order, Order)
    assert order.order_id == "771"


def test_orders_of_the_advanced_export(tmp_path: Path) -> None:
    """Its default columns name no currency: without a word on it nothing is taken."""
    (order,) = found(tmp_path, "advanced", ADVANCED, reading=Reading(currency="INR"))
    assert isinstance(order, Order)
    assert (order.currency, order.goods, order.address.street) == ("INR", 41186, "A498, Block K")
    with pytest.raises(UsageError, match=r"has no column Currency or Order Currency; .* can be said with --currency"):
        found(tmp_path, "advanced", ADVANCED)
    with pytest.raises(UsageError, match="says its currency in each row; leave --currency out"):
        found(tmp_path, "shopify", SHOPIFY, reading=Reading(currency="INR"))
    with pytest.raises(UsageError, match="is no currency of ISO 4217"):
        Reading(currency="inr")


@pytest.mark.parametrize(
    ("layout", "changes", "why"),
    [
        ("shopify", {"Subtotal": "30.49"}, "line 2: Subtotal: 30.49 is not the sum of its lines, 30.50"),
        ("shopify", {"Taxes": "1.79"}, "line 2: Total: 37.28 is not lines, shipping and tax, 37.29"),
        (
            "shopify",
            {"Total": "35.50"},
            "line 2: Total: is lines and shipping alone, so the prices have the Taxes in them",
        ),
        ("shopify", {"Discount Amount": "3.05"}, "line 2: Discount Amount: 3.05; an order has no place for it"),
        ("shopify", {"Lineitem discount": "0.01"}, "line 2: Lineitem discount: 0.01; an order has no place for it"),
        ("shopify", {"Refunded Amount": "1"}, "line 2: Refunded Amount: 1; an order has no place for it"),
        ("shopify", {"Duties": "2"}, "line 2: Duties: 2; an order has no place for it"),
        (
            "shopify",
            {"Financial Status": "partially_refunded"},
            "line 2: Financial Status: 'partially_refunded' is no status of",
        ),
        (
            "shopify",
            {"Financial Status": "erstattet"},
            "line 2: Financial Status: 'erstattet' is no status of an order that",
        ),
        (
            "shopify",
            {"Lineitem price": "10.251"},
            "line 2: Lineitem price: 10.251 is no price of a piece in whole minor units",
        ),
        ("shopify", {"Lineitem price": "ten"}, "line 2: Lineitem price: 'ten' is not a decimal number"),
        ("shopify", {"Lineitem quantity": "0"}, "line 2: Lineitem quantity: 0 is not above 0"),
        ("shopify", {"Lineitem sku": ""}, "line 2: Lineitem sku: is empty; an order line names"),
        ("shopify", {"Currency": "CAN"}, "line 2: Currency: 'CAN' is no currency of ISO 4217"),
        ("shopify", {"Currency": ""}, "line 2: Currency: '' is no currency of ISO 4217"),
        ("shopify", {"Subtotal": ""}, "line 2: Subtotal: '' is not a decimal number"),
        ("shopify", {"Total": "much"}, "line 2: Total: 'much' is not a decimal number"),
        ("shopify", {"Shipping Country": ""}, "line 2: Shipping Country: is empty; an order needs it"),
        ("shopify", {"Shipping Name": "", "Shipping Company": ""}, "line 2: Shipping Name, Shipping Company: "),
        ("shopify", {"Shipping Name": "\u200b"}, "line 2: Shipping Name: "),
        ("shopify", {"Shipping Country": "x" * 300}, "line 2: Shipping Country: "),
        ("shopify", {"Shipping Phone": "tel. 123"}, "line 2: Shipping Phone: "),
        ("shopify", {"Lineitem sku": "-A"}, "line 2: Lineitem sku: must not begin with"),
        ("shopify", {"Lineitem quantity": "1000001"}, "line 2: Lineitem quantity: Input should be"),
        (
            "woo",
            {"shipping_first_name": "", "shipping_last_name": ""},
            "line 2: shipping_first_name, shipping_last_name, shipping_company: ",
        ),
        ("woo", {"billing_email": "no address"}, "line 2: billing_email: "),
        ("woo", {"customer_id": "-1"}, "line 2: customer_id: "),
        ("shopify", {"Shipping": "-30.50", "Taxes": "0", "Total": "0.00"}, "line 2: Shipping: -30.50 is below 0"),
        ("shopify", {"Taxes": "-5.00", "Total": "30.50"}, "line 2: Taxes: -5.00 is below 0"),
        ("shopify", {"Shipping": "-40.00", "Total": "-7.72"}, "line 2: Shipping: -40.00 is below 0"),
        ("woo", {"shipping_total": "-1.00", "order_total": "51.70"}, "line 2: shipping_total: -1.00 is below 0"),
        ("woo", {"status": ""}, "line 2: status: '' is no status of an order that is to be charged"),
        (
            "advanced",
            {"Cart Discount Amount": "-1.00", "Order Subtotal Amount": "410.86"},
            "line 2: Cart Discount Amount: -1.00 is below 0",
        ),
        ("advanced", {"Order Status": " "}, "line 2: Order Status: '' is no status of an order that is to be charged"),
        ("shopify", {"Shipping Province": "x" * 300}, "line 2: Shipping Province: String should have at most"),
        (
            "woo",
            {"item_total": "28.51"},
            "line 2: item_total: 28.51 for 3 pieces is no price of a piece in whole minor units",
        ),
        ("woo", {"item_total": "28.47"}, "line 2: order_total: 57.60 is not lines, shipping and tax, 57.57"),
        ("woo", {"fee_total": "2.00"}, "line 2: fee_total: 2.00; an order has no place for it"),
        ("woo", {"refunded_total": "2.00"}, "line 2: refunded_total: 2.00; an order has no place for it"),
        ("woo", {"item_refunded": "-2.00"}, "line 2: item_refunded: -2.00; an order has no place for it"),
        ("woo", {"status": "refunded"}, "line 2: status: 'refunded' is no status of an order that is to be charged"),
        ("woo", {"shipping_city": ""}, "line 2: shipping_city: is empty; an order needs it"),
        (
            "advanced",
            {"Item Cost": "205.94"},
            "line 2: Order Subtotal Amount: 411.86 is not the sum of its lines, 411.88",
        ),
        (
            "advanced",
            {"Cart Discount Amount": "1.86"},
            "line 2: Order Subtotal Amount: 410.00 is not the sum of its lines, 411.86",
        ),
        ("advanced", {"Order Refund Amount": "5"}, "line 2: Order Refund Amount: 5; an order has no place for it"),
        (
            "advanced",
            {"Order Status": "Cancelado"},
            "line 2: Order Status: 'Cancelado' is no status of an order that is to be",
        ),
    ],
)
def test_what_would_be_charged_wrongly_is_refused(
    tmp_path: Path, layout: str, changes: dict[str, str], why: str
) -> None:
    """With the line, the column and the sum; the next order is read."""
    rows = {
        "shopify": ([SHOPIFY | changes, SHOPIFY_MORE], [SHOPIFY, SHOPIFY_MORE], "Name"),
        "woo": (
            [WOO | changes, WOO_MORE | {name: it for name, it in changes.items() if "item" not in name}],
            [WOO, WOO_MORE],
            "order_number",
        ),
        "advanced": ([ADVANCED | changes], [ADVANCED], "Order Number"),
    }[layout]
    bad, good, name = rows
    currency = Reading(currency="INR") if layout == "advanced" else None
    first, second = found(tmp_path, layout, *bad, *[row | {name: "9"} for row in good], reading=currency)
    assert isinstance(first, Refused)
    assert (first.reference, first.reason[: len(why)]) == (bad[0][name], why)
    assert isinstance(second, Order)


@pytest.mark.parametrize(
    ("layout", "changes"),
    [
        (
            "shopify",
            {"Cancelled at": "2026-11-28 11:00:00 -0500", "Financial Status": "refunded", "Refunded Amount": "37.28"},
        ),
        ("shopify", {"Financial Status": "voided"}),
        ("woo", {"status": "wc-cancelled"}),
        ("woo", {"status": "Failed"}),
        ("woo", {"status": "checkout-draft", "item_sku": ""}),
    ],
)
def test_what_the_shop_has_cancelled_is_skipped(tmp_path: Path, layout: str, changes: dict[str, str]) -> None:
    """It is counted, whatever else its rows say."""
    row, name = (SHOPIFY, "#1001") if layout == "shopify" else (WOO, "2001")
    meter = Meter()
    assert found(tmp_path, layout, row | changes, meter=meter) == [Skipped(name, "cancelled order")]
    assert (meter.lines.read, meter.lines.skipped) == (3, 2)


def test_a_row_that_says_something_else_than_the_first_is_refused(tmp_path: Path) -> None:
    """Two orders of one name would become one with a wrong sum."""
    (refused,) = found(tmp_path, "shopify", SHOPIFY, SHOPIFY_MORE | {"Shipping City": "Toronto"})
    assert refused == Refused("#1001", "line 4: Shipping City: differs from that of the order's first line")


def test_columns_come_in_any_order_and_any_case(tmp_path: Path) -> None:
    """More columns are not read, blanks around names are nothing, numbers have the mark of the file."""
    header = sorted(LAYOUTS["shopify"])
    numbers = {
        name: cell.replace(".", ",")
        for name, cell in SHOPIFY.items()
        if cell.replace(".", "").isdecimal() and "." in cell
    }
    more = SHOPIFY_MORE | {"Lineitem price": "10,00", "Lineitem discount": "0,00"}
    text = text_of(header, SHOPIFY | numbers, more, delimiter=";")
    first, _, rest = text.partition("\n")
    path = tmp_path / "orders.csv"
    path.write_bytes(("\ufeff" + " " + first.upper().replace(";", " ; ") + "\n" + rest).encode("utf-16"))
    (order,) = read_orders(path)
    assert isinstance(order, Order)
    assert order.goods == 3050


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """With the layout that the others are of; one that stands twice too."""
    path = tmp_path / "orders.csv"
    path.write_text(text_of([name for name in LAYOUTS["shopify"] if name != "Lineitem price"]))
    with pytest.raises(UsageError, match="looks like Shopify's order export, and has no column Lineitem price"):
        read_orders(path)
    path.write_text(text_of([*LAYOUTS["shopify"], "total"]))
    with pytest.raises(UsageError, match="has the column 'Total' twice"):
        read_orders(path)


def test_a_note_is_never_read_as_an_order(tmp_path: Path) -> None:
    """A customer writes rows into his note, and the row that it stands in has lost a cell: the whole record is refused."""
    path = tmp_path / "orders.csv"
    row = text_of(LAYOUTS["shopify"], SHOPIFY | {"Name": "666"}).splitlines()[1]
    text = text_of(LAYOUTS["shopify"], SHOPIFY | {"Notes": f"\n{row}\n{row}\n"}, SHOPIFY_MORE)
    path.write_text(text.replace("Shopify Payments,", ""))
    found = list(read_orders(path))
    assert [type(it) for it in found] == [Refused]
    assert isinstance(found[0], Refused)
    assert (found[0].reference, found[0].reason.partition(": has")[0]) == ("#1001", "line 2: the line")


ONE_ROW = SHOPIFY | {"Subtotal": "20.50", "Total": "27.28", "Notes": ""}
"""An order of one line."""


def evil_line(header: list[str]) -> str:
    """What a customer would like to be read."""
    return text_of(header, ONE_ROW | {"Name": "#EVIL"}).splitlines()[1]


@pytest.mark.parametrize("is_last", [False, True], ids=["notes amid", "notes last"])
@pytest.mark.parametrize(
    "note",
    [
        'my 5" shelf\n{}\nbye',
        'my 5" shelf, please\n{}\nbye',
        'a\n{}\nb "quoted" c',
        'say "hi",\n{}\n',
        'say "hi"\n{}\n',
        'shelf of 5"\n{}\nbye',
        '5",a\n{}\n"c',
        '\n{}\n"',
    ],
)
def test_a_note_with_a_quote_that_is_not_doubled_is_no_order(tmp_path: Path, note: str, is_last: bool) -> None:
    """Also when the quote ends the cell by itself: nobody can tell then which lines are of the note, above or below, so no order of
    the file is taken, and each line is named."""
    header = [name for name in LAYOUTS["shopify"] if not (is_last and name == "Notes")] + ["Notes"] * is_last
    text = text_of(
        header,
        ONE_ROW | {"Name": "#1"},
        ONE_ROW | {"Notes": "~~"},
        ONE_ROW | {"Name": "#9"},
    ).replace("~~", '"' + note.format(evil_line(header)) + '"')
    path, meter = tmp_path / "orders.csv", Meter()
    path.write_text(text)
    refused = list(read_orders(path, meter))
    assert {type(it) for it in refused} == {Refused}
    assert all("export it again with each quote in a quoted cell doubled" in it.reason for it in refused)  # type: ignore[union-attr]
    assert (meter.lines.refused, meter.lines.empty) == (len(text.splitlines()) - 1, 1)


def test_a_quote_that_is_open_at_the_end_refuses_the_file(tmp_path: Path) -> None:
    """Whose it is cannot be said, nor what stands in it."""
    path = tmp_path / "orders.csv"
    header = LAYOUTS["shopify"]
    text = text_of(header, ONE_ROW | {"Name": "#1"}, ONE_ROW | {"Notes": "~~"})
    path.write_text(text.partition("~~")[0] + '"ring\n' + evil_line(header))
    assert {(type(it), getattr(it, "reference", "")) for it in read_orders(path)} == {
        (Refused, "#1"),
        (Refused, "#1001"),
    }
