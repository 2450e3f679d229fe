"""The rules of the payment service, on SQLite and PostgreSQL."""

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.payment.fraud import RULES, fraud_rules
from services.payment.service import SERVICE
from services.payment.tables import AUTHORIZATION
from services.skeleton.database import Database
from tests import services_available as servers
from tests.integration.services.asking import DATABASES, Asked, Reply, asked, at_once

AUTHORIZE, CAPTURE, SCREEN, REFUND = "/v1/authorizations", "/v1/captures", "/v1/fraud-screens", "/v1/refunds"
STATE = "/v1/captures/{capture_id}"
PAYMENT = {"order_id": "SO-1", "amount": 8_240, "currency": "GBP", "country": "EIRE"}
DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(params=DATABASES)
def payment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    with asked(SERVICE, request.param, request, tmp_path) as service:
        yield service
        assert_balanced(service)


@pytest.fixture
def on_sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    """For questions whose answer does not depend on the database."""
    with asked(SERVICE, "sqlite", request, tmp_path) as service:
        yield service


def authorize(service: Asked, key: str, amount: int = 8_240, method: str = "pm_card") -> Reply:
    body = {"order_id": "SO-1", "amount": amount, "currency": "GBP", "payment_method": method}
    return service.post(AUTHORIZE, key, body)


def capture(service: Asked, key: str, of: str, amount: int = 8_240, currency: str = "GBP") -> Reply:
    body = {"authorization_id": f"A-{of}", "amount": amount, "currency": currency}
    return service.post(CAPTURE, key, body)


def refund(service: Asked, key: str, of: str, amount: int, **other: str) -> Reply:
    body = {"order_id": "SO-1", "capture_id": f"C-{of}", "amount": amount, "currency": "GBP", "reason": "came back"}
    return service.post(REFUND, key, {**body, **other})


def state(service: Asked, of: str) -> dict[str, Any]:
    return service.route("GET", STATE, capture_id=f"C-{of}").body


def accounts(service: Asked, currency: str = "GBP", order_id: str = "SO-1") -> dict[str, int]:
    """What an order's postings in a currency leave on each account, without those at zero."""
    sums: Counter[str] = Counter()
    for row in service.ledger():
        if (row["currency"], row["order_id"]) == (currency, order_id):
            sums[row["debit"]] -= row["amount"]
            sums[row["credit"]] += row["amount"]
    return {account: amount for account, amount in sums.items() if amount}


def assert_balanced(service: Asked, order_id: str = "SO-1") -> None:
    """The accounts of an order sum to zero per currency, no posting is nothing, and what is left at the merchant is what its
    captures have left, never less than nothing."""
    rows = [row for row in service.ledger() if row["order_id"] == order_id]
    assert all(row["amount"] > 0 and row["debit"] != row["credit"] for row in rows)
    for currency in {row["currency"] for row in rows}:
        left = accounts(service, currency, order_id)
        assert not sum(left.values())
        taken = [row["key"] for row in rows if row["currency"] == currency and row["operation"] == f"POST {CAPTURE}"]
        shown = [state(service, key) for key in taken]
        assert all(0 <= it["refunded"] <= it["captured"] for it in shown)
        assert left.get("merchant", 0) == sum(it["captured"] - it["refunded"] for it in shown)
        assert all(sum(item["amount"] for item in it["refunds"]) == it["refunded"] for it in shown)


def test_a_hold_is_captured(payment: Asked) -> None:
    """Authorised money lies in `holds`, captured money with the merchant; the capture adds no effect to the hold's."""
    held = authorize(payment, "k1")
    assert (held.status, held.effects) == (201, [("money", "GBP", 8_240)])
    assert accounts(payment) == {"customer:SO-1": -8_240, "holds": 8_240}
    taken = capture(payment, "k2", of="k1")
    assert (taken.status, taken.effects, taken.body["authorization_id"]) == (201, [], "A-k1")
    assert accounts(payment) == {"customer:SO-1": -8_240, "merchant": 8_240}


def test_a_void_releases_the_hold_once(payment: Asked) -> None:
    """The money is the customer's again, two undos with different keys void once, and nothing is left to capture."""
    authorize(payment, "k1")
    assert payment.undo(AUTHORIZE, "u1", "k1").effects == [("money", "GBP", -8_240)]
    assert payment.undo(AUTHORIZE, "u2", "k1").body == {"undone": True, "effects": []}
    assert accounts(payment) == {}
    refused = capture(payment, "k2", of="k1")
    assert (refused.status, refused.code) == (409, "voided")


def test_captured_money_is_not_voided(payment: Asked) -> None:
    """The void of a captured authorization is refused with `captured`, and the books stay."""
    authorize(payment, "k1")
    capture(payment, "k2", of="k1")
    refused = payment.undo(AUTHORIZE, "u1", "k1")
    assert (refused.status, refused.code) == (409, "captured")
    assert accounts(payment)["merchant"] == 8_240


def test_an_authorization_is_captured_once(payment: Asked) -> None:
    """16 captures under different keys from 8 threads take the money once."""
    authorize(payment, "k1")
    replies = at_once([partial(capture, payment, f"c{number}", of="k1") for number in range(16)])
    assert Counter(reply.code or "captured now" for reply in replies) == {"captured now": 1, "captured": 15}
    assert accounts(payment)["merchant"] == 8_240


def test_void_and_capture_at_once_have_one_winner(payment: Asked) -> None:
    """Whoever comes first, the money is at one place, and the other one is told."""
    for number in range(8):
        authorize(payment, f"k{number}")
        calls = [
            partial(capture, payment, f"c{number}", of=f"k{number}"),
            partial(payment.undo, AUTHORIZE, f"u{number}", f"k{number}"),
        ]
        taken, voided = at_once(calls)
        assert (taken.code, voided.code) in {("", "captured"), ("voided", "")}
    assert "holds" not in accounts(payment)


@pytest.mark.parametrize(("amount", "currency"), [(8_241, "GBP"), (8_239, "GBP"), (8_240, "EUR")])
def test_another_amount_than_was_held_is_refused(payment: Asked, amount: int, currency: str) -> None:
    """More, less or another currency: 409 `amount_mismatch`, and the hold stays as it was."""
    authorize(payment, "k1")
    assert capture(payment, "k2", of="k1", amount=amount, currency=currency).code == "amount_mismatch"
    assert accounts(payment)["holds"] == 8_240


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("pm_declined", "card_declined"),
        ("pm_insufficient_funds", "insufficient_funds"),
        ("pm_expired", "expired_card"),
        ("cash", "unknown_method"),
    ],
)
def test_who_is_declined_is_said_by_the_way_of_paying(payment: Asked, method: str, reason: str) -> None:
    """402 `declined`, with the reason beside the code; a late copy hears the same to the letter, and nothing is held."""
    first, again = authorize(payment, "k1", method=method), authorize(payment, "k1", method=method)
    assert (first.status, first.code, first.body["reason"]) == (402, "declined", reason)
    assert (again.body, again.is_replayed) == (first.body, True)
    assert accounts(payment) == {}


def test_a_decline_at_capture(payment: Asked) -> None:
    """`pm_capture_declined` is held, and declined when it is taken; the hold can be voided."""
    assert authorize(payment, "k3", method="pm_capture_declined").status == 201
    refused = capture(payment, "k4", of="k3")
    assert (refused.status, refused.code, refused.body["reason"]) == (402, "declined", "capture_declined")
    assert payment.undo(AUTHORIZE, "u3", "k3").body["undone"] is True


def test_a_capture_is_refunded_in_parts(payment: Asked) -> None:
    """The money is the customer's again, part by part; the capture shows what was taken and what went back."""
    authorize(payment, "k1")
    capture(payment, "c1", of="k1")
    first = refund(payment, "r1", of="c1", amount=2_060)
    assert (first.status, first.effects, first.body["refund_id"]) == (201, [("money", "GBP", 2_060)], "F-r1")
    refund(payment, "r2", of="c1", amount=180)
    shown = state(payment, "c1")
    assert (shown["captured"], shown["refunded"], shown["order_id"]) == (8_240, 2_240, "SO-1")
    assert [(item["refund_id"], item["amount"], item["reason"]) for item in shown["refunds"]] == [
        ("F-r1", 2_060, "came back"),
        ("F-r2", 180, "came back"),
    ]
    assert all(item["at"].endswith("Z") for item in shown["refunds"])
    assert accounts(payment) == {"customer:SO-1": -6_000, "merchant": 6_000}


def test_no_more_is_refunded_than_was_captured(payment: Asked) -> None:
    """409 `refund_exceeds_capture` with what is there, no row of it anywhere; what is left goes back to the last penny."""
    authorize(payment, "k1")
    capture(payment, "c1", of="k1")
    refund(payment, "r1", of="c1", amount=8_000)
    refused = refund(payment, "r2", of="c1", amount=241)
    assert (refused.status, refused.code) == (409, "refund_exceeds_capture")
    assert (refused.body["captured"], refused.body["refunded"]) == (8_240, 8_000)
    assert [row["key"] for row in payment.ledger()] == ["k1", "c1", "r1"]
    assert len(state(payment, "c1")["refunds"]) == 1
    assert refund(payment, "r3", of="c1", amount=240).status == 201
    assert accounts(payment) == {}


def test_refunds_at_once_do_not_exceed_the_capture(payment: Asked) -> None:
    """16 refunds of a third each under different keys from 8 threads: three are given, the others are refused."""
    authorize(payment, "k1", amount=900)
    capture(payment, "c1", of="k1", amount=900)
    replies = at_once([partial(refund, payment, f"r{number}", of="c1", amount=300) for number in range(16)])
    assert Counter(reply.code or "given" for reply in replies) == {"given": 3, "refund_exceeds_capture": 13}
    assert state(payment, "c1")["refunded"] == 900


@pytest.mark.parametrize(
    ("other", "status", "code"),
    [
        ({"order_id": "SO-2"}, 404, "unknown_capture"),
        ({"capture_id": "C-none"}, 404, "unknown_capture"),
        ({"currency": "EUR"}, 409, "currency_mismatch"),
        ({"reason": ""}, 422, "invalid"),
    ],
)
def test_a_refund_of_something_else(payment: Asked, other: dict[str, str], status: int, code: str) -> None:
    """Another order's capture, none at all, another currency, no reason: refused, and the capture stays."""
    authorize(payment, "k1")
    capture(payment, "c1", of="k1")
    refused = refund(payment, "r1", of="c1", amount=100, **other)
    assert (refused.status, refused.code) == (status, code)
    assert state(payment, "c1")["refunded"] == 0


Move = tuple[str, int, int, str]
"""(what, which authorization, how much, currency)."""
moves = st.tuples(
    st.sampled_from(["authorize", "capture", "void", "refund"]),
    st.integers(0, 2),
    st.integers(1, 400),
    st.sampled_from(["GBP", "EUR"]),
)


def asked_for(service: Asked, case: str, number: int, move: Move) -> Callable[[], Reply]:
    """The move as a call. Keys are of the case, so that cases share a database; whoever authorises or captures the same
    thing twice repeats it, and every refund and void is a new one."""
    what, which, amount, currency = move
    held, taken = f"{case}a{which}", f"{case}c{which}"
    whole = {"amount": 400, "currency": "GBP" if which else "EUR"}
    if what == "authorize":
        return partial(service.post, AUTHORIZE, held, {"order_id": case, **whole, "payment_method": "pm_card"})
    if what == "capture":
        return partial(service.post, CAPTURE, taken, {"authorization_id": f"A-{held}", **whole})
    if what == "void":
        return partial(service.undo, AUTHORIZE, f"{case}v{number}", held)
    body = {"order_id": case, "capture_id": f"C-{taken}", "amount": amount, "currency": currency, "reason": "came back"}
    return partial(service.post, REFUND, f"{case}r{number}", body)


@pytest.fixture(scope="module", params=DATABASES)
def shared_payment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """One service for all cases of the random test: making a database costs more than all its moves."""
    with ExitStack() as closing:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('payment') / 'payment.db'}"
        else:
            server_url, name = request.getfixturevalue("postgres_server_url"), request.getfixturevalue("run_name")
            url = servers.create_database(server_url, f"{name}_random")
            closing.callback(servers.drop_database, server_url, f"{name}_random")
        database = Database(url)
        closing.callback(database.close)
        yield Asked(SERVICE, database)


case_numbers = count()
BEGINNING: list[Move] = [(what, which, 1, "GBP") for what in ("authorize", "capture") for which in range(3)]


@settings(max_examples=12, deadline=None)
@given(rounds=st.lists(st.lists(moves, min_size=2, max_size=8), min_size=1, max_size=3), is_begun=st.booleans())
def test_random_moves_at_once_keep_the_books(shared_payment: Asked, rounds: list[list[Move]], is_begun: bool) -> None:
    """Rounds of moves, those of a round at the same time: each answer is a success or a refusal, the accounts sum to zero
    per currency after every round, and no capture is refunded beyond what was taken."""
    case = f"case-{next(case_numbers)}"
    for place, of_round in enumerate([*([[move] for move in BEGINNING] if is_begun else []), *rounds]):
        calls = [asked_for(shared_payment, case, place * 10 + number, move) for number, move in enumerate(of_round)]
        assert {reply.status for reply in at_once(calls)} <= {200, 201, 404, 409}
        assert_balanced(shared_payment, case)


def screened(service: Asked, **given_too: Any) -> Reply:
    return service.post(SCREEN, "", {**PAYMENT, **given_too})


def reasons(reply: Reply) -> list[str]:
    return [reason["rule"] for reason in reply.body["reasons"]]


def test_the_amount_limit_of_each_currency(on_sqlite: Asked) -> None:
    """Up to the limit it passes without a reason, above it is suspected for that reason alone; nothing is written."""
    for currency, limit in fraud_rules().amount_limits.items():
        code = "BHD" if currency == "default" else currency
        passed = screened(on_sqlite, amount=limit, currency=code)
        assert (passed.status, passed.body) == (200, {"score": 0.0, "passed": True, "threshold": 100, "reasons": []})
        refused = screened(on_sqlite, amount=limit + 1, currency=code)
        assert (refused.status, refused.code, reasons(refused)) == (402, "fraud_suspected", ["amount_limit"])
        assert refused.body["score"] >= refused.body["threshold"]
    assert on_sqlite.ledger() == []


def test_a_payment_from_another_country(on_sqlite: Asked) -> None:
    """It adds to the score and passes alone, by name and by code alike; with another reason it reaches the threshold."""
    assert reasons(screened(on_sqlite, payment_country="Ireland")) == []
    assert reasons(screened(on_sqlite, payment_country="IE")) == []
    for elsewhere in ("FR", "Atlantis"):
        passed = screened(on_sqlite, payment_country=elsewhere)
        assert (passed.status, passed.body["score"], reasons(passed)) == (200, 40.0, ["country_mismatch"])


def test_the_velocity_of_a_customer(payment: Asked) -> None:
    """More than so many authorizations of one customer within the hour are a reason, guests are no one customer, another
    customer is not counted; together with another country it is suspected."""
    most = fraud_rules().velocity.most
    for customer, number_of in (("C-1", most + 1), ("C-2", most), ("guest", most + 1)):
        for number in range(number_of):
            body = {"order_id": "SO-1", "amount": 1, "currency": "GBP", "payment_method": "pm_card"}
            assert payment.post(AUTHORIZE, f"{customer}{number}", {**body, "customer_id": customer}).status == 201
    assert reasons(screened(payment, customer_id="C-1")) == ["velocity"]
    assert reasons(screened(payment, customer_id="C-2")) == reasons(screened(payment, customer_id="guest")) == []
    refused = screened(payment, customer_id="C-1", payment_country="FR")
    assert (refused.code, reasons(refused)) == ("fraud_suspected", ["country_mismatch", "velocity"])
    an_hour_ago = datetime.now(UTC) - timedelta(seconds=fraud_rules().velocity.window_s + 1)
    payment._desk.database.write(lambda connection: connection.execute(AUTHORIZATION.update().values(at=an_hour_ago)))
    assert reasons(screened(payment, customer_id="C-1")) == []


@pytest.mark.parametrize(
    ("given_too", "rule"),
    [
        ({"skus": ["LAMP", "DENIED-SKU"]}, "denied_sku"),
        ({"email": "a@denied.example"}, "denied_email_domain"),
        ({"email": "a@mail.DENIED.example"}, "denied_email_domain"),
    ],
    ids=str,
)
def test_the_deny_list(on_sqlite: Asked, given_too: dict[str, Any], rule: str) -> None:
    """A SKU or an e-mail domain on the list, also a domain below it, is suspected for that reason alone."""
    refused = screened(on_sqlite, **given_too)
    assert (refused.code, reasons(refused)) == ("fraud_suspected", [rule])
    for near in ({"skus": ["DENIED"]}, {"email": "denied.example@shop.example"}, {"email": "a@notdenied.example"}):
        assert reasons(screened(on_sqlite, **near)) == []


def test_every_rule_has_a_weight() -> None:
    """The rules of the code are those of the table, and each weight is one that can matter."""
    weights = fraud_rules().weights.model_dump()
    assert set(RULES) == set(weights)
    assert all(0 < weight <= fraud_rules().threshold for weight in weights.values())


def test_no_order_of_the_online_retail_data_is_suspected(on_sqlite: Asked) -> None:
    """The dearest invoice of the real file passes, with every SKU of the file and a customer who pays too often; no rule
    looks at anything else of an order, so all pass."""
    path = DATA / "online-retail.csv.gz"
    if not path.exists():
        pytest.skip(f"NOT TESTED: {path.name} of the shared data is not here")
    pence: Counter[str] = Counter()
    skus: set[str] = set()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            skus.add(row["StockCode"].strip().replace(" ", "_"))
            pence[row["InvoiceNo"]] += max(0, round(float(row["UnitPrice"]) * 100) * int(row["Quantity"]))
    (_, dearest), *_ = pence.most_common(1)
    assert dearest > 7_000_000
    often = {"order_id": "SO-1", "amount": 1, "currency": "GBP", "payment_method": "pm_card", "customer_id": "C-1"}
    for number in range(fraud_rules().velocity.most + 1):
        on_sqlite.post(AUTHORIZE, f"k{number}", often)
    passed = screened(on_sqlite, amount=dearest, skus=sorted(skus)[:10_000], customer_id="C-1")
    assert (passed.status, reasons(passed)) == (200, ["velocity"])
    assert not skus & fraud_rules().denied.skus


def test_an_authorization_that_nobody_made(payment: Asked) -> None:
    """Its capture is 404, which no connector takes for a business rejection."""
    assert capture(payment, "k1", of="none").status == 404


def test_a_capture_that_nobody_made(payment: Asked) -> None:
    """It is 404 and has no state to show; an id that a database cannot hold is refused and no error of the service."""
    assert payment.route("GET", STATE, capture_id="C-none").status == 404
    assert payment.route("GET", STATE, capture_id="C-\0").status in {404, 422}
