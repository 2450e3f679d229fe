"""Numbers on the command line that mean nothing are refused before anything is read or made."""

import pytest
from typer.testing import CliRunner

from saga.errors import UsageError
from saga.surfaces.cli import ended
from saga.surfaces.cli.commands import app
from saga.surfaces.cli.options import Output, put_one
from saga.surfaces.serving import listening_at

HUGE = str(2**63)


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        ("drain", "--timeout", ["-1", "nan", "inf", "1e999", "soon"]),
        ("start shop:x {}", "--timeout", ["-1", "nan", "inf", "1e999", "soon"]),
        ("orders submit -", "--timeout", ["-1", "nan", "inf", "1e999", "soon"]),
        ("orders submit -", "--limit", ["0", "-1", "nan", "1.5"]),
        ("list", "--limit", ["0", "-1", "nan", "1000001"]),
        ("demo", "--orders", ["0", "-1", "nan", "100001"]),
        ("demo", "--seed", ["-1", "nan", HUGE]),
        ("demo", "--rate", ["0", "-1", "nan", "inf"]),
        ("dev", "--port", ["-1", "65536", "nan"]),
        ("api", "--port", ["-1", "65536", "nan"]),
        ("services", "--port", ["-1", "65536", "nan"]),
        ("worker", "--threads", ["0", "513", "nan"]),
    ],
)
def test_a_number_out_of_range(command: str, option: str, values: list[str]) -> None:
    """Exit code 2, and the message names the option."""
    for value in values:
        done = CliRunner().invoke(app, [*command.split(), option, value])
        assert (done.exit_code, f"Invalid value for '{option}'" in done.output) == (2, True), (value, done.output)


def test_the_last_of_four_ports_is_a_port() -> None:
    """Four services on ports in a row end above the last port there is."""
    with pytest.raises(UsageError, match="--port 65533: the last of the four would be 65536"):
        CliRunner().invoke(app, ["services", "--port", "65533"], catch_exceptions=False)


@pytest.mark.parametrize("host", ["nosuch.invalid", "192.0.2.1", "x" * 70 + ".example"])
def test_a_host_that_is_none_is_not_mended_by_another_port(host: str) -> None:
    """What is said names the option that is wrong: a name that nobody knows, an address of another machine, no name at all."""
    with pytest.raises(
        UsageError, match=rf"^--host {host}: is no address of this machine \(.*\); 127\.0\.0\.1 is one$"
    ):
        listening_at(host, 9001)
    with listening_at("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="take another with --port"):
        listening_at(*taken.getsockname())


def test_what_somebody_put_into_an_id_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """On a page it is shown by its number; as data it stays what it is."""
    put_one(Output.TABLE, {}, "SO\x1b[31m-1\nnext")
    put_one(Output.JSONL, {"id": "SO\x1b"}, "")
    assert capsys.readouterr().out == 'SO\\u001b[31m-1\\u000anext\n{"id": "SO\\u001b"}\n'


def test_what_this_user_may_not_read_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A home of another user: no traceback, and not the code of a saga that did not complete."""

    def refused() -> None:
        raise PermissionError(13, "Permission denied", "rootsaga/saga.db")

    with pytest.raises(SystemExit) as left:
        ended(refused)
    assert left.value.code == 2
    assert capsys.readouterr().err == "saga: rootsaga/saga.db: this user may not read it (Permission denied)\n"
