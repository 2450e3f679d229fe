"""A connector of one's own gets its address from the environment like the product's four."""

import pytest

from saga.errors import UsageError
from saga.settings import read_settings


def test_any_connector_has_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`SAGA_<NAME>_URL`; what is a setting of its own, such as the database, is no connector."""
    monkeypatch.setenv("SAGA_STOCK_URL", "http://127.0.0.1:9000/")
    monkeypatch.setenv("SAGA_PAYMENT_URL", "http://127.0.0.1:9001")
    monkeypatch.setenv("SAGA_DATABASE_URL", "sqlite:///x.db")
    monkeypatch.setenv("SAGA_TEST_AMQP_URL", "amqp://elsewhere")
    urls = read_settings().participant_urls
    assert urls == {"stock": "http://127.0.0.1:9000", "payment": "http://127.0.0.1:9001"}


def test_an_address_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, and does not repeat what may be a password."""
    monkeypatch.setenv("SAGA_STOCK_URL", "secret-token")
    with pytest.raises(UsageError) as caught:
        read_settings()
    assert "STOCK" in str(caught.value).upper()
    assert "secret-token" not in str(caught.value)
