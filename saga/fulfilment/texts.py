"""What a text of an order may be, beyond its length and its pattern.

Rules of this file
------------------
- By Unicode category: a text that a person reads has a letter, a digit, a punctuation mark or a symbol, which is not one of those
  that look like nothing (`BLANK`). Blanks, controls, joiners and accents alone are a name that nobody sees. Inside of a text they
  stay: ZWNJ and ZWJ write Persian, Indic scripts and emoji.
- `BLANK` is Default_Ignorable_Code_Point of DerivedCoreProperties.txt, Unicode 16.0, and what draws nothing although its
  category says otherwise.
- A bidirectional embedding, override or isolate is refused: it turns the text around it as well, so a label or a mail would read
  otherwise than what was checked (CVE-2021-42574). The marks U+200E, U+200F and U+061C turn nothing round and stay.
- A rule that a later release brings is asked of what comes from outside, and not of what a journal kept (`saga.runtime.readback.
  is_kept`): an order that was taken is shown, returned and audited whatever its name.
"""

import unicodedata

from pydantic import AfterValidator, StringConstraints, ValidationInfo

from saga.runtime.readback import is_kept

UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
ID_MAX = 64
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
SEEN = frozenset("LNPS")
"""First letters of the categories that are seen."""
BLANK = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
    # Beyond that property: braille without a dot, a note without a head, two Egyptian blanks.
    (0x2800, 0x2800), (0x1D159, 0x1D159), (0x13441, 0x13442),
)  # fmt: skip


def is_seen(letter: str) -> bool:
    """Whether a person sees the letter by itself."""
    return unicodedata.category(letter)[0] in SEEN and not is_blank(letter)


def is_blank(letter: str) -> bool:
    """Whether the letter draws nothing although its category does not say so."""
    return any(low <= ord(letter) <= high for low, high in BLANK)


def has_seen(text: str) -> bool:
    """Whether a person sees anything of the text."""
    return any(map(is_seen, text))


def _printable(text: str) -> str:
    if text.isprintable():  # which refuses more than is refused here, at once
        return text
    for place, letter in enumerate(text, start=1):
        if unicodedata.category(letter) in UNPRINTABLE:
            msg = f"character {place} is U+{ord(letter):04X}; control characters, line breaks and surrogates are not allowed"
            raise ValueError(msg)
    return text


def _seen(text: str, info: ValidationInfo) -> str:
    if not has_seen(text) and not (is_kept(info.context) and text.strip()):
        raise ValueError("needs a character that can be seen: a letter, a digit, a sign or a symbol")
    return text


def _straight(text: str, info: ValidationInfo) -> str:
    if not TURNING.isdisjoint(text) and not is_kept(info.context):
        place, letter = next((place, it) for place, it in enumerate(text, start=1) if it in TURNING)
        msg = f"character {place} is U+{ord(letter):04X}, which turns the text around it for a reader; leave it out"
        raise ValueError(msg)
    return text


def _plain_id(text: str) -> str:
    """An id stands in paths, on command lines, in the subjects of mails and beside other ids that look like it."""
    if not 1 <= len(text) <= ID_MAX:
        raise ValueError(f"must be 1 to {ID_MAX} characters long, as in SO-1001")
    if text in (".", ".."):
        raise ValueError("must not be '.' or '..', which mean a folder in a path")
    if text.startswith("-"):
        raise ValueError("must not begin with '-', which a command line takes for an option")
    if "  " in text or text != text.strip(" "):
        raise ValueError("must not begin or end with a blank, nor hold two beside one another")
    # What is ASCII and printable has nothing unseen but blanks: a file of orders has a million SKUs.
    for place, letter in enumerate("" if text.isascii() and text.isprintable() else text, start=1):
        if letter != " " and (unicodedata.category(letter)[0] in "CZ" or is_blank(letter)):
            raise ValueError(f"character {place} is U+{ord(letter):04X}, which nobody sees; leave it out")
    if not is_seen(text[0]):
        raise ValueError("must begin with a letter, a digit, a sign or a symbol")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("must be in normal form NFC: it would look like another id that is not the same")
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
Straight = AfterValidator(_straight)
PlainId = AfterValidator(_plain_id)
OneAddress = AfterValidator(_one_address)
