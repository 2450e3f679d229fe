"""Numbers as people's programs write them into text.

Rules of this file
------------------
- A text has a decimal mark: a comma where cells are separated by semicolons, for those programs use the comma for numbers; else a point.
- The other mark groups thousands, and so do blanks: `1.234,56` and `1 234,56` beside semicolons, `1,234.56` elsewhere.
- The other mark alone is taken where it can mean nothing else: `12.50` beside semicolons, `1.234.567`. What can be read in two ways
  (`1.234` beside semicolons, `1,234` elsewhere) is refused.
- No signs but the minus, no exponents, at most twelve digits on each side.
"""

import re
from decimal import Decimal

PLAIN = {mark: re.compile(rf"-?[0-9]{{1,12}}({re.escape(mark)}[0-9]{{1,12}})?") for mark in ".,"}
GROUPED = {
    mark: re.compile(
        rf"-?[0-9]{{1,3}}(([{re.escape(other)}  \u202f])[0-9]{{3}}(\2[0-9]{{3}}){{0,2}})({re.escape(mark)}[0-9]{{1,12}})?"
    )
    for mark, other in (".,", ",.")
}
BLANKS = str.maketrans("", "", "  \u202f")
SHOWN = 40


def number_of(text: str, mark: str = ".") -> Decimal:
    """The number that a text is. `ValueError` says what is wrong with it, and shows its beginning."""
    text = text.strip()
    if PLAIN[mark].fullmatch(text):
        return Decimal(text if mark == "." else text.replace(",", "."))
    other = "," if mark == "." else "."
    grouped = GROUPED[mark].fullmatch(text)
    if grouped and (grouped[2] != other or grouped[3] or grouped[4]):
        return Decimal(text.translate(BLANKS).replace(other, "").replace(mark, "."))
    if grouped and text.lstrip("-").startswith("0"):  # nobody groups 0.123
        return Decimal(text.replace(other, "."))
    if grouped:
        raise ValueError(
            f"{text!r} can be read in two ways, with thousands and as a fraction; write it without {other!r}"
        )
    if PLAIN[other].fullmatch(text):
        return Decimal(text.replace(other, "."))
    raise ValueError(f"{text[:SHOWN]!r} is not a decimal number")


def whole_number_of(text: str, mark: str = ".") -> int:
    """A whole number, also as programs write one that may be missing: `6.0`. `ValueError` as of `number_of`."""
    try:
        number = number_of(text, mark)
    except ValueError as error:
        raise ValueError(str(error).replace("a decimal number", "a whole number")) from error
    if number != number.to_integral_value():
        raise ValueError(f"{text[:SHOWN]!r} is not a whole number")
    return int(number)
