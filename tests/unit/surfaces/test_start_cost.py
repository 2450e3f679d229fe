"""What a person waits for before any command runs: processor time, as a ratio, because machines differ."""

from benchmarks.start import BASE, HELD, measured


def test_version_and_help_cost_about_what_typer_costs() -> None:
    """Neither imports the database, the broker or the API; nor does the help of a command that reads."""
    found = measured(3, (BASE, *HELD))
    assert {name: found[name] / found[BASE] for name, most in HELD.items() if found[name] / found[BASE] > most} == {}
