"""What a person waits for before any command runs: processor time, as a ratio, because machines differ."""

from benchmarks.start import BASE, HELD, measured

MOST = 2.5
"""Measured: 1.1 for `--version` and for `--help`; with every command imported it was above 15."""


def test_version_and_help_cost_about_what_typer_costs() -> None:
    """Neither imports the database, the broker or the API."""
    found = measured(3, (BASE, *HELD))
    assert {name: found[name] / found[BASE] for name in HELD if found[name] / found[BASE] > MOST} == {}
