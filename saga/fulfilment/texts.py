"""What a text of an order may be, beyond its length and its pattern."""

import unicodedata

from pydantic import AfterValidator, StringConstraints

UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _printable(text: str) -> str:
    if text.isprintable():  # which refuses more than is refused here, at once
        return text
    for place, letter in enumerate(text, start=1):
        if unicodedata.category(letter) in UNPRINTABLE:
            msg = f"character {place} is U+{ord(letter):04X}; control characters, line breaks and surrogates are not allowed"
            raise ValueError(msg)
    return text


def _seen(text: str) -> str:
    if not text.strip():
        raise ValueError("needs a character that can be seen")
    return text


def _one_address(address: str) -> str:
    # A mail program decodes such a word wherever it stands, and finds other addresses or a line break in it.
    if "=?" in address:
        raise ValueError("must not hold '=?', which begins an encoded word (RFC 2047)")
    return address


def text(length: int) -> StringConstraints:
    return StringConstraints(min_length=1, max_length=length)


Printable = AfterValidator(_printable)
Seen = AfterValidator(_seen)
OneAddress = AfterValidator(_one_address)
