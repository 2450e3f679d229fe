"""The mail that tells a customer that his return was refunded."""

from email.message import EmailMessage

from saga.fulfilment.mailbox import counted, letter, recipient
from saga.fulfilment.money import shown
from saga.fulfilment.returns import ReturnLabel, ReturnOrder, ReturnPrice

BODY = """\
We have refunded {total} for your return {return_id} of order {order_id}.

Goods     {goods}
Tax       {tax}

{items} on the way back, tracking number {tracking}.
"""


def refund_notice(wanted: ReturnOrder, price: ReturnPrice, label: ReturnLabel, key: str, sender: str) -> EmailMessage:
    """Its Message-ID is made of `key`, so every repeat is the same mail to a reader. Raises `Rejected` as `letter` does."""
    money = {part: shown(getattr(price, part), price.currency) for part in ("goods", "tax", "total")}
    to = recipient(wanted.email, wanted.customer_id)
    message = letter(key, sender, to, f"Your return {wanted.return_id} was refunded")
    pieces = sum(line.quantity for line in wanted.lines)
    ids = {"return_id": wanted.return_id, "order_id": wanted.order_id, "tracking": label.tracking}
    message.set_content(BODY.format(items=counted(pieces), **ids, **money))
    return message
