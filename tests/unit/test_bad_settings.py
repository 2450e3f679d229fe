"""Every setting: a value that breaks its rule is exit code 2, the name of the variable and the rule in words."""

import pytest
from typer.testing import CliRunner

from saga.errors import UsageError
from saga.settings import PREFIX, Settings
from saga.surfaces.cli.commands import app
from saga.surfaces.cli.options import USAGE, code_of

BAD = {
    "database_url": ("mysql://h/secret", "a database is postgresql://user@host/database"),
    "broker_url": ("kafka://secret", "a broker begins with amqp://"),
    "inventory_url": ("secret:80", "an address begins with http:// or https:// and names a host"),
    "tax_url": ("http://h:secret", "its port is not a number from 0 to 65535"),
    "shipping_url": ("http://h/?secret", "an address has at most 2048 characters, and no white space, '?' or '#'"),
    "payment_url": ("ftp://secret", "an address begins with http:// or https:// and names a host"),
    "connector_urls": ("{}", "is no setting; the address of a connector is SAGA_<NAME>_URL"),
    "home": ("{file}", "{file} cannot be a folder"),
    "mailbox": ("{file}", "{file} cannot be a folder"),
    "smtp_url": ("smtp://user:sec#ret@h", "a mail server ends with its port"),
    "mail_from": ("secret", "a sender is name@example.org or Some Name <name@example.org>, in one line"),
    "environment": ("se cret", "a name has 1 to 64 letters, digits, '.', '_' and '-'"),
    "tenant": ("-secret", "a name has 1 to 64 letters, digits, '.', '_' and '-'"),
    "tenants": ("shop, secret", "names of tenants with commas between them and no spaces, or *"),
    "driver": ("secret", "Input should be 'process' or 'task'"),
    "threads": ("secret", "Input should be a valid integer"),
    "in_flight": ("0", "Input should be greater than or equal to 1"),
    "own_cores": ("secret", "Input should be a valid boolean"),
    "log_level": ("secret", "Input should be 'debug', 'info', 'warning' or 'error'"),
    "silence_s": ("secret", "Input should be a valid integer"),
    "statement_s": ("0", "Input should be greater than or equal to 0.5"),
    "lease_s": ("secret", "Input should be a valid number"),
    "grace_s": ("-1", "Input should be greater than or equal to 0"),
    "durable_without_fsync": ("secret", "Input should be a valid boolean"),
    "trusted_proxies": ("secret", "addresses or networks of proxies with commas between them, as in 10.0.0.0/8"),
    "backlog_bound": ("-1", "Input should be greater than or equal to 1"),
}


@pytest.mark.parametrize("field", Settings.model_fields)
def test_a_bad_value_names_its_setting(
    field: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whichever field the model has; a new one has to get its line in the table. The value is not repeated, for it may be a
    password; the name of a folder is none."""
    file = tmp_path_factory.mktemp("settings") / "file"
    file.touch()
    value, rule = (text.replace("{file}", str(file)) for text in BAD[field])
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv(f"{PREFIX}HOME", str(file.parent / "home"))
    monkeypatch.setenv(f"{PREFIX}{field.upper()}", value)
    raised = CliRunner().invoke(app, ["drain"]).exception
    assert isinstance(raised, UsageError), raised
    assert code_of(raised) == USAGE
    assert str(raised).startswith(f"{PREFIX}{field.upper()}: {rule}")
    assert "secret" not in str(raised)
