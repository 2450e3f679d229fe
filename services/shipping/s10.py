"""Numbers of parcels: for posts by S10 of the Universal Postal Union, for others by the label's key.

S10 (*Identification of postal items*): two letters of the service, eight digits, a check digit, the code of the country
whose post takes the item in, as in `RR 473124829 GB`. The check digit is 11 less the weighted sum of the digits modulo 11;
10 becomes 0 and 11 becomes 5.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b

WEIGHTS = (8, 6, 4, 2, 3, 5, 9, 7)
SERIALS = 10**8
TRIES_MAX = 100
NUMBER = re.compile(r"([A-Z]{2})([0-9]{8})([0-9])([A-Z]{2})")


def check_digit(serial: str) -> int:
    """Of eight digits."""
    rest = sum(int(digit) * weight for digit, weight in zip(serial, WEIGHTS, strict=True)) % 11
    return {10: 0, 11: 5}.get(11 - rest, 11 - rest)


def number(service: str, serial: int, country: str) -> str:
    """The whole number without blanks."""
    digits = f"{serial:08d}"
    return f"{service}{digits}{check_digit(digits)}{country}"


def is_number(text: str) -> bool:
    """Whether the form is right and the check digit too."""
    found = NUMBER.fullmatch(text)
    return found is not None and check_digit(found[2]) == int(found[3])


def serials(key: str) -> Iterator[int]:
    """Serial numbers for a label, made of its key: the first that is not given away is its own. Two keys may meet in one
    of the hundred million, so there are further ones."""
    for attempt in range(TRIES_MAX):
        digest = blake2b(f"{attempt}\x1f{key}".encode(), digest_size=8).digest()
        yield int.from_bytes(digest, "big") % SERIALS
