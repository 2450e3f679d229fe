"""A mailbox that cannot be written holds an order up and does not halt it: it is paid, and nobody's definition is wrong."""

from pathlib import Path

import pytest
import requests

from saga.core.fold import replay
from saga.core.outcomes import OutcomeCode
from saga.core.states import SagaStatus
from saga.core.transitions import AttemptEnded, Transition
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.settings import Settings
from saga.store.codec import decode
from saga.surfaces.embedded import Stack, embedded
from tests.e2e.orders import order
from tests.waiting import wait_until

END_S = 40.0


def journal(stack: Stack, saga_id: str) -> list[Transition]:
    return [one for entry in stack.store.load([saga_id])[saga_id] for one in decode(entry.body)]


def told(stack: Stack, saga_id: str) -> list[AttemptEnded]:
    return [
        it for it in journal(stack, saga_id) if isinstance(it, AttemptEnded) and it.node.startswith("confirm_order")
    ]


def status(stack: Stack, saga_id: str) -> SagaStatus | None:
    row = stack.store.row(saga_id)
    return row.status if row else None


def test_the_order_waits_until_the_mailbox_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the folder should be: not sent, with the setting that names it. Once it is a folder the mail is put
    there, by the same saga, and no attempt was lost to it."""
    mailbox = tmp_path / "mailbox"
    mailbox.write_text("no folder")
    monkeypatch.setenv("SAGA_MAILBOX", str(mailbox))
    settings = Settings(home=tmp_path / "home", mailbox=mailbox)
    with embedded(settings, [fulfil_order], port=None, with_broker=False) as stack:
        items = {"items": [{"sku": "MUG", "quantity": 10}]}
        url = f"{stack.urls['inventory']}/v1/stock"
        assert requests.post(url, json=items, headers={"Idempotency-Key": "stock"}, timeout=20).ok
        saga_id = stack.starter.start(fulfil_order, Order.model_validate(order("SO-1"))).saga_id
        wait_until(lambda: told(stack, saga_id), END_S, what="an attempt to tell the customer")
        assert status(stack, saga_id) is SagaStatus.RUNNING
        mailbox.unlink()
        wait_until(lambda: status(stack, saga_id) is SagaStatus.COMPLETED, END_S, what="the end of the order")
        made = told(stack, saga_id)
        assert {it.code for it in made[:-1]} == {OutcomeCode.NOT_SENT}
        assert made[0].detail.startswith(f"SAGA_MAILBOX: no mail can be put into {mailbox}: ")
        assert made[-1].code is OutcomeCode.SUCCEEDED
        assert replay(journal(stack, saga_id)).node("confirm_order:a").tries <= 1
    assert len(list(mailbox.glob("*.eml"))) == 1
