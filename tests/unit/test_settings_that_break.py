"""A setting that cannot be obeyed is one line that names the variable, never a traceback and never the value."""

import pytest

from saga.core.connector import Connector
from saga.errors import DefinitionError, UsageError
from saga.settings import read_settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SAGA_DATABASE_URL", "junk"),
        ("SAGA_DATABASE_URL", "mysql://secret@x/y"),
        ("SAGA_DATABASE_URL", "postgresql://secret@h:abc/x"),
        ("SAGA_BROKER_URL", "foo://secret"),
        ("SAGA_BROKER_URL", "amqp://secret@h:99999999//"),
        ("SAGA_THREADS", "0"),
    ],
)
def test_a_broken_setting_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """Found when it is read, before anything is opened."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable) as caught:
        read_settings()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("rejected", [{200: "declined"}, {402: ""}, {402: ()}, {500: "broken"}])
def test_a_connector_lists_only_what_can_be_a_business_no(rejected: dict[int, str]) -> None:
    """A success or an outage that counted as a rejection would roll every order back."""
    with pytest.raises(DefinitionError, match="a business no is a status from 400 to 499"):
        Connector("bank", rejected=rejected)
