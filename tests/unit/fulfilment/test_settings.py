"""Settings are read once from `SAGA_*`, and one that breaks a rule is named without showing its value."""

import dataclasses
from pathlib import Path

import pytest
from pydantic import ValidationError

from saga.clock import SystemClock
from saga.core.binding import StepContext
from saga.errors import UsageError
from saga.fulfilment.fulfil_order import confirm_order
from saga.fulfilment.models import Order, OrderPrice, Shipment
from saga.settings import Settings, read_settings, unknown_settings

ADDRESS = "an address begins with http:// or https:// and names a host"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SAGA_{name.upper()}", raising=False)


def test_without_a_setting_nothing_needs_a_server() -> None:
    """The defaults are the embedded mode: SQLite and mails under one folder, the memory broker, no participant's address."""
    settings = read_settings()
    assert settings.store_url == "sqlite:///.saga/saga.db"
    assert settings.broker_url == "memory://"
    assert settings.mail_folder == Path(".saga/mailbox")
    assert settings.participant_urls == {}
    assert (settings.environment, settings.tenant, settings.driver) == ("development", "default", None)
    assert (settings.threads, settings.in_flight, settings.log_level) == (8, 256, "info")


def test_what_is_set_is_taken_and_what_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address loses its last slash, so that paths can be put behind it; an empty variable keeps the default."""
    monkeypatch.setenv("SAGA_PAYMENT_URL", "http://127.0.0.1:8004/")
    monkeypatch.setenv("SAGA_TAX_URL", "")
    monkeypatch.setenv("SAGA_HOME", "/var/lib/saga")
    monkeypatch.setenv("SAGA_DATABASE_URL", "postgresql://user:secret@db/saga")
    monkeypatch.setenv("SAGA_DRIVER", "task")
    settings = read_settings()
    assert settings.participant_urls == {"payment": "http://127.0.0.1:8004"}
    assert settings.mail_folder == Path("/var/lib/saga/mailbox")
    assert (settings.store_url, settings.driver) == ("postgresql://user:secret@db/saga", "task")
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGA_THREADS", "0"),
        ("SAGA_THREADS", "many"),
        ("SAGA_IN_FLIGHT", "100001"),
        ("SAGA_DRIVER", "prefork"),
        ("SAGA_ENVIRONMENT", "my shop"),
        ("SAGA_PAYMENT_URL", "secret:8004"),
        ("SAGA_LOG_LEVEL", "loud"),
    ],
)
def test_a_broken_rule_names_the_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A setting may be a password: the message has the variable and the rule."""
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{name}: ") as refused:
        read_settings()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("SAGA_PAYMENT_URL", "secret", ADDRESS),
        ("SAGA_PAYMENT_URL", "ftp://secret", ADDRESS),
        ("SAGA_PAYMENT_URL", "http://:80/secret", ADDRESS),
        ("SAGA_PAYMENT_URL", "http://[secret", ADDRESS),
        ("SAGA_PAYMENT_URL", "http://secret:abc", "its port is not a number from 0 to 65535"),
        (
            "SAGA_PAYMENT_URL",
            "http://h/?secret",
            "an address has at most 2048 characters, and no white space, '?' or '#'",
        ),
        ("SAGA_STOCK_URL", "secret", ADDRESS),
        ("SAGA_DATABSE_URL", "sqlite:///secret", f"{ADDRESS}; did you mean SAGA_DATABASE_URL?"),
        (
            "SAGA_DATABASE_URL",
            "mysql://secret",
            "a database is postgresql://user@host/database, sqlite:///path/to/file or memory://",
        ),
        (
            "SAGA_BROKER_URL",
            "kafka://secret",
            "a broker begins with amqp://, amqps://, redis://, rediss://, redis+socket://, sentinel://, sqs:// or memory://; several have ';' between them",
        ),
        (
            "SAGA_TENANT",
            "my secret",
            "a name has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter, a digit or '_'",
        ),
        ("SAGA_CONNECTOR_URLS", "secret", "is no setting; the address of a connector is SAGA_<NAME>_URL"),
    ],
)
def test_a_rule_is_said_in_words(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str) -> None:
    """No regular expression and no part of the value: the variable, what it is to be, and nothing else."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as caught:
        read_settings()
    assert str(caught.value) == f"{variable}: {says}"


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("SAGA_DATABSE_URL", "SAGA_DATABASE_URL"),
        ("SAGA_DATABASE", "SAGA_DATABASE_URL"),
        ("SAGA_LOGLEVEL", "SAGA_LOG_LEVEL"),
        ("SAGA_COLOUR", None),
    ],
)
def test_what_is_no_setting_is_found(monkeypatch: pytest.MonkeyPatch, variable: str, nearest: str | None) -> None:
    """With the setting that it may be a slip of."""
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert unknown_settings() == {variable: nearest}


@pytest.mark.parametrize(
    "variable",
    [
        "SAGA_THREADS",
        "SAGA_STOCK_URL",
        "SAGA_TEST_DATABASE_URL",
        "SAGA_HYPOTHESIS",
        "SAGA_SIMULATION_SEEDS",
        "SAGA_FAILPOINTS",
        "SAGA_TAX_DATABASE_URL",
    ],
)
def test_what_somebody_reads_is_not_found(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A setting, the address of any connector, and what tests, failpoints and services read; nor what is empty."""
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("SAGA_COLOUR", "")
    assert unknown_settings() == {}


def test_the_database_of_a_service_is_no_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    """`saga services` passes it on to the service; as an address it would break a rule, and no command would run."""
    monkeypatch.setenv("SAGA_TAX_DATABASE_URL", "postgresql://db/tax")
    assert read_settings().connector_urls == {}


def test_settings_are_read_anew_when_a_variable_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each order asks for them: between two changes they are the same value and not read twice. Case does not matter."""
    first = read_settings()
    assert read_settings() is first
    monkeypatch.setenv("saga_tenant", "shop-7")
    assert read_settings().tenant == "shop-7"
    monkeypatch.delenv("saga_tenant")
    assert read_settings().tenant == first.tenant


def test_settings_do_not_change() -> None:
    """A value that everybody holds is the same for everybody."""
    with pytest.raises(ValidationError):
        read_settings().threads = 9  # type: ignore[misc]


def test_the_confirmation_goes_where_the_setting_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The step writes one mail under its key into SAGA_MAILBOX, and its repeat returns the same without a second."""
    monkeypatch.setenv("SAGA_MAILBOX", str(tmp_path / "mails"))
    order = Order.model_validate(
        {
            "order_id": "SO-1",
            "customer_id": "C7",
            "currency": "GBP",
            "country": "United Kingdom",
            "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
            "lines": [{"sku": "A", "quantity": 7, "unit_price": 50}],
            "payment_method": "pm_card",
        }
    )
    price = OrderPrice(goods=350, tax=70, freight=495, total=915, currency="GBP")
    shipment = Shipment(shipment_id="s1", tracking="T-1", carrier="DHL")
    first = StepContext("1", "SO-1", "confirm_order:a", "abcdefgh", 1, SystemClock().now())
    told = [confirm_order(order, price, shipment, dataclasses.replace(first, attempt=number)) for number in (1, 2)]
    assert [one.message_id for one in told] == ["<abcdefgh@shop.invalid>"] * 2
    assert [path.name for path in (tmp_path / "mails").iterdir()] == ["abcdefgh.eml"]
