"""The request keys of orders and returns that come out of files: made of ids, so that the same file again asks for nothing new.

A key goes into the header Idempotency-Key, which takes visible ASCII, and an id may hold more than that.
"""

from hashlib import sha256
from urllib.parse import quote

VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if code != 0x25)
"""ASCII that stands in a key as it is: all that can be seen but the '%', which begins what cannot."""
KEY_MAX = 255


def key_of(prefix: str, name: str) -> str:
    """A key of visible ASCII that is the same for the same name alone; of a plain name it is prefix and name."""
    key = prefix + quote(name, safe=VISIBLE)
    return key if len(key) <= KEY_MAX else prefix + sha256(name.encode()).hexdigest()


def request_key(order_id: str) -> str:
    """The key of an order."""
    return key_of("orders-submit:", order_id)


def corrected_key(order_id: str, content: str) -> str:
    """The key of an order whose plain one belongs to another content: the same for the same content alone."""
    return key_of(f"orders-submit-corrected:{sha256(content.encode()).hexdigest()[:32]}:", order_id)


def return_key(reference: str, order_id: str) -> str:
    """The key of the return that the cancellation `reference` means of an order."""
    return key_of("orders-submit:return:", f"{reference}.{order_id}")
