"""`fulfil_order` as it runs, to the mail: an embedded stack whose confirmations go over SMTP."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from saga.core.fold import SagaState, replay
from saga.core.outcomes import OutcomeCode
from saga.core.states import HaltReason, SagaStatus
from saga.core.transitions import AttemptEnded, Transition
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.settings import Settings
from saga.store.codec import decode
from saga.surfaces.embedded import Stack, embedded
from tests.integration.mail.peers import USER, Inbox, mail_server, nobody
from tests.waiting import wait_until

END_S = 40.0


@dataclass
class Shop:
    """A stack, the server that takes its mails, and the environment that its steps read."""

    stack: Stack
    inbox: Inbox
    environment: pytest.MonkeyPatch

    def place(self, order_id: str, email: str | None) -> str:
        """One order, accepted; its saga's id."""
        order = Order.model_validate(
            {
                "order_id": order_id,
                "customer_id": "C7",
                "currency": "GBP",
                "country": "United Kingdom",
                "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
                "lines": [{"sku": "A", "quantity": 1, "unit_price": 50}],
                "payment_method": "pm_card",
                "email": email,
            }
        )
        return self.stack.starter.start(fulfil_order, order).saga_id

    def state(self, saga_id: str) -> SagaState:
        return replay(self.journal(saga_id))

    def journal(self, saga_id: str) -> list[Transition]:
        return [one for entry in self.stack.store.load([saga_id])[saga_id] for one in decode(entry.body)]

    def ended(self, order_id: str, email: str | None) -> tuple[SagaState, list[OutcomeCode], list[str]]:
        """The order's end, and each attempt to tell the customer: its outcome, and its detail."""
        saga_id = self.place(order_id, email)
        wait_until(lambda: self.status(saga_id) is SagaStatus.COMPLETED, END_S, what="the order to be completed")
        return (self.state(saga_id), *self.attempts(saga_id))

    def attempts(self, saga_id: str) -> tuple[list[OutcomeCode], list[str]]:
        made = [one for one in self.journal(saga_id) if isinstance(one, AttemptEnded) and one.node == "confirm_order:a"]
        return [one.code for one in made], [one.detail for one in made]

    def status(self, saga_id: str) -> SagaStatus | None:
        row = self.stack.store.row(saga_id)
        return row.status if row is not None else None


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The whole product in this process: services, worker, journal on SQLite."""
    home: Path = tmp_path_factory.mktemp("home")
    inbox = Inbox()
    with ExitStack() as parts, pytest.MonkeyPatch.context() as environment:
        port = parts.enter_context(mail_server(inbox))
        environment.setenv("SAGA_SMTP_URL", f"smtp://127.0.0.1:{port}")
        environment.setenv("SAGA_MAIL_FROM", "Orders <orders@shop.example>")
        stack = parts.enter_context(embedded(Settings(home=home), [fulfil_order], port=None, with_broker=False))
        items = {"items": [{"sku": "A", "quantity": 1_000}]}
        url = f"{stack.urls['inventory']}/v1/stock"
        assert requests.post(url, json=items, headers={"Idempotency-Key": "stock"}, timeout=20).ok
        yield Shop(stack, inbox, environment)


def test_an_order_is_confirmed_by_mail(shop: Shop) -> None:
    """From the accepted order to the server that took the mail: one, under the Message-ID that the saga's result names."""
    state, codes, _ = shop.ended("SO-1", "zoe@example.org")
    (mail,) = shop.inbox.to("zoe@example.org")
    result = state.node("confirm_order:a").result
    assert codes == [OutcomeCode.SUCCEEDED]
    assert result is not None
    assert mail["Message-ID"] in result.data
    assert mail["Message-ID"] == f"<{state.node('confirm_order:a').wire_key}@shop.invalid>"
    assert mail["Subject"] == "Your order SO-1 is on its way"
    assert not shop.stack.settings.mail_folder.exists()


def test_a_customer_who_cannot_be_told_is_on_record(shop: Shop) -> None:
    """550 to the recipient: the order is completed, with a warning that holds the codes and not the address."""
    state, codes, details = shop.ended("SO-2", "gone@example.org")
    assert (codes, details) == ([OutcomeCode.REJECTED], ["smtp 550 5.1.1"])
    assert state.warnings == ("confirm_order: smtp 550 5.1.1",)
    assert shop.inbox.to("gone@example.org") == []


def test_an_order_without_an_address_is_on_record(shop: Shop) -> None:
    """No server is asked to deliver to a name that nobody has."""
    state, codes, _ = shop.ended("SO-3", None)
    assert codes == [OutcomeCode.REJECTED]
    assert state.warnings == ("confirm_order: no_address",)


def test_greylisting_is_waited_for(shop: Shop) -> None:
    """451 costs no attempt out of the budget; the mail is sent once."""
    state, codes, details = shop.ended("SO-4", "grey@example.org")
    assert codes == [OutcomeCode.THROTTLED, OutcomeCode.SUCCEEDED]
    assert details[0] == "smtp 451 4.7.1"
    assert state.node("confirm_order:a").tries <= 1
    assert len(shop.inbox.to("grey@example.org")) == 1


def test_an_answer_that_was_lost_sends_the_same_mail_again(shop: Shop) -> None:
    """The line drops after the data: unknown, and the repeat has the same Message-ID, so a reader sees one mail."""
    _, codes, _ = shop.ended("SO-5", "lost@example.org")
    mails = shop.inbox.to("lost@example.org")
    assert codes == [OutcomeCode.UNKNOWN, OutcomeCode.SUCCEEDED]
    assert len(mails) == 2
    assert len({mail["Message-ID"] for mail in mails}) == 1


def test_a_server_that_is_away_is_waited_for(shop: Shop) -> None:
    """Nothing was sent while nobody listened; the mail leaves when somebody does."""
    inbox = Inbox()
    with shop.environment.context() as environment:
        with nobody() as port:
            environment.setenv("SAGA_SMTP_URL", f"smtp://127.0.0.1:{port}")
            saga_id = shop.place("SO-6", "late@example.org")
            wait_until(lambda: shop.attempts(saga_id)[0], END_S, what="an attempt to tell the customer")
            assert set(shop.attempts(saga_id)[0]) == {OutcomeCode.NOT_SENT}
        with mail_server(inbox, port=port):
            wait_until(lambda: shop.status(saga_id) is SagaStatus.COMPLETED, END_S, what="the order to be completed")
    assert len(inbox.to("late@example.org")) == 1


def test_a_password_that_is_wrong_halts_and_rejects_nothing(shop: Shop) -> None:
    """It is about us: the order stands in front of a person, shipped and paid, and is not recorded as told or refused."""
    with shop.environment.context() as environment, mail_server(Inbox()) as port:
        environment.setenv("SAGA_SMTP_URL", f"smtp://{USER}:wrong@127.0.0.1:{port}")
        saga_id = shop.place("SO-7", "zoe@example.org")
        wait_until(lambda: shop.status(saga_id) is SagaStatus.HALTED, END_S, what="the order to be halted")
    halt = shop.state(saga_id).halt
    assert halt is not None
    assert (halt.reason, halt.node) == (HaltReason.DEFECT, "confirm_order:a")
    assert "SAGA_SMTP_URL" in halt.detail
    assert "wrong" not in halt.detail
