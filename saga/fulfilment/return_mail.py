"""The mail that tells a customer that his return was refunded."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from saga.clock import SystemClock
from saga.fulfilment.money import shown
from saga.fulfilment.returns import ReturnLabel, ReturnOrder, ReturnPrice

BODY = """\
We have refunded {total} for your return {return_id} of order {order_id}.

Goods     {goods}
Tax       {tax}

{item_count} items go back with tracking number {tracking}.
"""


def refund_notice(wanted: ReturnOrder, price: ReturnPrice, label: ReturnLabel, key: str, sender: str) -> EmailMessage:
    """Its Message-ID is made of `key`, so every repeat is the same mail to a reader."""
    money = {part: shown(getattr(price, part), price.currency) for part in ("goods", "tax", "total")}
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = f"<{key}@shop.invalid>"
    message["Date"] = format_datetime(SystemClock().now())
    message["From"] = sender
    message["To"] = wanted.email or f"{wanted.customer_id}@customers.invalid"
    message["Subject"] = f"Your return {wanted.return_id} was refunded"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answer comes back
    pieces = sum(line.quantity for line in wanted.lines)
    ids = {"return_id": wanted.return_id, "order_id": wanted.order_id, "tracking": label.tracking}
    message.set_content(BODY.format(item_count=pieces, **ids, **money))
    return message
