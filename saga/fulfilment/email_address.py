"""Addresses of mail as people type them, and as a mail server takes them.

Rules of this file
------------------
- The domain may be an internationalised one (IDNA 2008, mapped as UTS 46 has it, so that capitals are no other domain). It is kept
  as it was typed, and sent as the letters of ASCII that stand for it (`bücher.example`, `xn--bcher-kva.example`): any server takes those.
- The part before the '@' is ASCII. Another one needs a server that offers SMTPUTF8 (RFC 6531) at every hop, and a sender that
  knows where none does; it is refused where the order is taken, and not by a mail that comes back when the parcel has left.
- An address of ASCII stays as it is, to the letter.
"""

import re

import idna

from saga.fulfilment.texts import is_blank

ADDRESS_MAX = 254
LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+"
EMAIL = rf"^{LOCAL}@{_LABEL}(\.{_LABEL})+$"
"""What a schema can say of an address: letters beyond ASCII in the domain alone."""
_SENT = re.compile(rf"{LOCAL}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
NO_HOST = "the part behind the '@' is no name of a host (IDNA 2008), as bücher.example is"
RULE = "must be an address of letters, digits and the usual signs, with one '@', as in ada@example.org"


def mail_address(address: str) -> str:
    """The address as a mail server takes it, in ASCII. Raises `ValueError` with the rule that it breaks, never with the address."""
    local, _, domain = address.rpartition("@")
    if not local.isascii():
        raise ValueError(
            "the part before the '@' holds a letter beyond ASCII, which needs SMTPUTF8 (RFC 6531), and few servers offer that; "
            "give an address without"
        )
    sent = address if domain.isascii() else f"{local}@{_in_ascii(domain)}"
    if not _SENT.fullmatch(sent):
        raise ValueError(RULE)
    if len(sent) > ADDRESS_MAX:
        raise ValueError(f"has {len(sent)} characters as it is sent; a mail server takes {ADDRESS_MAX}")
    return sent


def _in_ascii(domain: str) -> str:
    if any(map(is_blank, domain)):  # which UTS 46 passes over
        raise ValueError(NO_HOST)
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise ValueError(NO_HOST) from None


def sent_to(address: str) -> str:
    """The same of an address that was checked when its order was taken; one of ASCII is not looked at again."""
    return address if address.isascii() else mail_address(address)


def checked_address(address: str) -> str:
    """The address as it was typed. Raises as `mail_address` does."""
    mail_address(address)
    return address
