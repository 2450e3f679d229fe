"""Mutants of how files of orders are read: what a line, a number and a sum mean, and that no line is lost."""

from tests.mutants.mutant import Mutant

TEXT, CSV, NUMBERS = "saga/fulfilment/text_files.py", "saga/fulfilment/csv_text.py", "saga/fulfilment/numbers_text.py"
ROWS, SHOPS, ORDERS = (
    "saga/fulfilment/order_rows.py",
    "saga/fulfilment/shop_exports.py",
    "saga/fulfilment/order_files.py",
)

UNIT = "tests/unit/fulfilment/"
CASES = "tests/cases/test_files_of_shops.py::"
FUZZ = "tests/property/test_order_files.py::"
WRONG = f"{UNIT}test_shop_exports.py::test_what_would_be_charged_wrongly_is_refused"

FILES = [
    Mutant(
        "a-zip-holds-one-file",
        TEXT,
        "    if len(names) != 1:\n",
        "    if not names:\n",
        "of a zip with several files the first is read, and nobody hears of the others",
        (f"{UNIT}test_text_files.py::test_a_file_that_cannot_be_read",),
    ),
    Mutant(
        "a-long-line-is-dropped",
        TEXT,
        "while not is_whole and (rest := file.readline(LINE_MAX)):\n                    is_whole = rest.endswith",
        "while not is_whole and (rest := file.readline()):\n                    is_whole = rest.endswith",
        "a small zip takes as much memory as it unpacks to",
        (f"{UNIT}test_text_files.py::test_a_small_file_that_unpacks_to_a_great_one",),
    ),
    Mutant(
        "latin-1-is-not-guessed",
        TEXT,
        'return marked or said or "utf-8"',
        'return marked or said or "iso8859-1"',
        "a name in UTF-8 is read as another one, and the parcel goes to it",
        (f"{UNIT}test_text_files.py::test_the_same_lines",),
    ),
    Mutant(
        "a-quote-spoils-one-line",
        CSV,
        "        self._again.extendleft(reversed(others))\n",
        "",
        "behind a quote that is not closed lines are lost without a word",
        (
            f"{UNIT}test_csv_text.py::test_a_quote_that_is_not_closed_spoils_one_line",
            f"{FUZZ}test_a_broken_line_spoils_no_order_but_its_own",
        ),
    ),
    Mutant(
        "a-note-is-no-order",
        CSV,
        "elif first == last or has_notes:",
        "elif first == last:",
        "a customer writes a row into his note, and it is read as an order at prices of his own",
        (f"{UNIT}test_shop_exports.py::test_a_note_is_never_read_as_an_order",),
    ),
    Mutant(
        "a-record-is-bounded",
        CSV,
        "if len(self.taken) > 1 and self._is_beyond():",
        "if False:",
        "a record of many cells keeps the rest of the file in memory",
        (f"{UNIT}test_csv_text.py::test_a_record_that_is_too_long",),
    ),
    Mutant(
        "reading-again-is-bounded",
        CSV,
        " or self._again_count > AGAIN_MAX",
        "",
        "a file of lines that each open a quote takes a day",
        (f"{UNIT}test_csv_text.py::test_a_file_of_open_quotes_is_read_in_time",),
    ),
    Mutant(
        "two-readings-are-none",
        NUMBERS,
        "    if grouped:\n        raise",
        "    if False:\n        raise",
        "1.234 beside semicolons is sold for 1.23 where it was 1234",
        (f"{UNIT}test_numbers_text.py::test_what_is_no_number",),
    ),
    Mutant(
        "half-an-order-is-none",
        ROWS,
        "            if lost:\n                doubts[reference] = lost\n",
        "",
        "an order is handed over without the line that could not be read",
        (f"{UNIT}test_online_retail.py::test_a_line_of_nobody_refuses_the_orders_around_it",),
    ),
    Mutant(
        "a-shifted-row-names-no-order",
        CSV,
        "yield Record(first, last, cells[:1], source.fault",
        "yield Record(first, last, cells, source.fault",
        "a row that lost a cell is refused under the number in the next one, and its order is handed over without it",
        (f"{UNIT}test_online_retail.py::test_a_line_of_nobody_refuses_the_orders_around_it",),
    ),
    Mutant(
        "lines-are-accounted-for",
        ROWS,
        "                meter.lines.refused += line_count(lines)\n",
        "                meter.lines.refused += 1\n",
        "lines of a file are in no order and in no refusal, and the counts do not say so",
        (f"{CASES}test_each_refused_line_is_named",),
    ),
    Mutant(
        "the-total-is-checked",
        SHOPS,
        'self._refuse_unless(total, self.goods + shipping + tax, "total", "lines, shipping and tax")',
        "pass",
        "an order is charged that the shop had at another price",
        (WRONG,),
    ),
    Mutant(
        "prices-are-without-tax",
        SHOPS,
        "if tax and total == self.goods + shipping:",
        "if total == self.goods + shipping:\n            return\n        if False:",
        "the tax in the prices is charged once more",
        (WRONG,),
    ),
    Mutant(
        "a-discount-is-not-dropped",
        SHOPS,
        'if values.get(name, "").strip() and self.sheet.number(values, name):',
        "if False:",
        "a customer with a coupon pays the whole price",
        (WRONG,),
    ),
    Mutant(
        "a-refund-is-not-charged-again",
        SHOPS,
        "if self._status not in TAKEN:",
        "if False:",
        "an order that the shop paid back, in whatever language it says so, is charged",
        (WRONG,),
    ),
    Mutant(
        "a-piece-has-a-whole-price",
        SHOPS,
        "        if is_rounded or rest:\n",
        "        if is_rounded:\n",
        "three pieces of 28.51 are charged 28.50",
        (WRONG,),
    ),
    Mutant(
        "rows-of-two-orders-are-not-one",
        SHOPS,
        'if values[name].strip() not in ("", before):',
        "if False:",
        "two orders of one name go to one address",
        (f"{UNIT}test_shop_exports.py::test_a_row_that_says_something_else_than_the_first_is_refused",),
    ),
    Mutant(
        "utf-16-is-read-from-a-body",
        "saga/surfaces/receiving.py",
        "return unmarked(body)",
        "return body",
        "the API refuses what every file may be",
        (f"{CASES}test_a_body_may_have_any_mark",),
    ),
]
