"""A number is what its text can mean, and one that can mean two is none."""

from decimal import Decimal

import pytest

from saga.fulfilment.numbers_text import number_of, whole_number_of


@pytest.mark.parametrize(
    ("text", "mark", "number"),
    [
        ("2.55", ".", "2.55"),
        (" -12 ", ".", "-12"),
        ("2.555", ".", "2.555"),
        ("1,250.0", ".", "1250.0"),
        ("1,234,567", ".", "1234567"),
        ("12,50", ".", "12.50"),
        ("0,125", ".", "0.125"),
        ("1 234.5", ".", "1234.5"),
        ("2,55", ",", "2.55"),
        ("2.55", ",", "2.55"),
        ("2,555", ",", "2.555"),
        ("1.234,56", ",", "1234.56"),
        ("1.234.567", ",", "1234567"),
        ("1 234,56", ",", "1234.56"),
        ("1\u202f234", ",", "1234"),
        ("0.125", ",", "0.125"),
        ("1234.567", ",", "1234.567"),
        ("-1.234,5", ",", "-1234.5"),
    ],
)
def test_numbers(text: str, mark: str, number: str) -> None:
    """By the mark of the file, by groups of thousands, and by the other mark where it can mean nothing else."""
    assert str(number_of(text, mark)) == number


@pytest.mark.parametrize(
    ("text", "mark", "why"),
    [
        ("1,234", ".", "'1,234' can be read in two ways, with thousands and as a fraction; write it without ','"),
        ("1.234", ",", "'1.234' can be read in two ways, with thousands and as a fraction; write it without '.'"),
        ("-12.345", ",", "'-12.345' can be read in two ways"),
        *[
            (text, mark, f"{text!r} is not a decimal number")
            for text in ("", "1,23,456", "1.2.3", "1,2,3")
            for mark in ".,"
        ],
        *[
            (text, mark, f"{text!r} is not a decimal number")
            for text in ("1 23", "+5", "1e5", "NaN", "£5", "٣")
            for mark in ".,"
        ],
        ("1,234.567,8", ".", "is not a decimal number"),
        ("1.234,567.8", ",", "is not a decimal number"),
        ("1,234 567", ".", "is not a decimal number"),
        ("9" * 13, ".", "is not a decimal number"),
        ("9" * 99, ".", "'" + "9" * 40 + "' is not a decimal number"),
    ],
)
def test_what_is_no_number(text: str, mark: str, why: str) -> None:
    """It is refused, and its beginning is shown."""
    with pytest.raises(ValueError, match=r".") as raised:
        number_of(text, mark)
    assert why in str(raised.value)


def test_whole_numbers() -> None:
    """Programs write `6.0` for a number that may be missing; a fraction is none."""
    assert [whole_number_of(text) for text in ("6", "6.0", "1,250.0", "-3", "-0.0")] == [6, 6, 1250, -3, 0]
    assert [whole_number_of(text, ",") for text in ("6,0", "6.0", "1.250,0")] == [6, 6, 1250]
    for text in ("1.5", "", "six", "0.0001"):
        with pytest.raises(ValueError, match="is not a whole number"):
            whole_number_of(text)
    with pytest.raises(ValueError, match="in two ways"):
        whole_number_of("1.250", ",")
    assert number_of("1" * 12 + "." + "1" * 12) == Decimal("1" * 12 + "." + "1" * 12)
