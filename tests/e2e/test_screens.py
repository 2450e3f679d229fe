"""What a person sees of sagas that really ran, on a terminal and in a pipe; and what the shell offers after a tab."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.runtime.starting import Starter
from saga.store import schema
from saga.store.opening import open_store
from tests.e2e.commands import ROOT, Finished, Place
from tests.e2e.orders import json_lines, order

EXAMPLES = ROOT / "examples"
SHOP = "shop:place_order"
COLOUR = "\x1b["
WIDTH = 100


class Named(BaseModel):
    order_id: str


def look(order: Named) -> Named:
    return order


PLACE = Saga("place", version=1, input=Named, entity=lambda order: order.order_id, steps=[readonly(look)])


def started(tmp_path: Path, *order_ids: str) -> Place:
    """A journal with these sagas, on which nobody works."""
    (tmp_path / "home").mkdir(mode=0o700)
    url = f"sqlite:///{tmp_path / 'home' / 'saga.db'}"
    schema.upgrade(url, "development")
    store = open_store(url)
    starter = Starter(store, environment="development", tenant="default")
    for order_id in order_ids:
        starter.start(PLACE, Named(order_id=order_id))
    starter.stop()
    store.close()
    return Place(EXAMPLES, tmp_path / "home")


def widest(done: Finished) -> int:
    return max(map(len, done.out.splitlines()))


def test_orders_of_the_product(tmp_path: Path) -> None:
    """A completed order and a declined one: stock by SKU, label with carrier and tracking number, money with its currency,
    the mail that the customer got, the verdict on a rollback; `status` and `audit` say the same."""
    place = Place(tmp_path, tmp_path / "home")
    given = json_lines([order("SO-1"), order("SO-2", payment_method="pm_declined")])
    with place.running(["dev"], "ready"):
        sent = place.run("orders", "submit", "-", "--provision", "--wait", "--timeout", "60", given=given)
        assert sent.code in (0, 1), sent.err
        audited = place.run("audit")
        status = json.loads(place.run("status", "-o", "json").out)
    shown = place.run("show", "SO-1")
    value = json.loads(place.run("show", "SO-1", "-o", "json").out)
    by_kind = {one["kind"]: one for one in value["effects"]}
    [mail] = (place.home / "mailbox").glob("*.eml")
    text = mail.read_text().replace("=\n", "")
    assert (value["told"]["subject"], f"<{mail.stem}@" in value["told"]["message_id"]) == (
        "Your order SO-1 is on its way",
        True,
    )
    assert value["told"]["subject"] in text
    assert by_kind["label"]["note"] in text, "the tracking number is that of the mail"
    assert (by_kind["stock"]["unit"], by_kind["stock"]["done"], value["order_status"]) == ("MUG", 2, "confirmed")
    amount = f"£{by_kind['money']['net'] / 100:,.2f}"
    for part in (
        "COMPLETED",
        "fold = state",
        " 1 ∥",
        "stock MUG",
        by_kind["label"]["note"],
        amount,
        '"Your order SO-1',
    ):
        assert part in shown.out
    declined = place.run("show", "SO-2", "--attempts")
    for part in ("authorize_payment rejected: declined", "REJECTED", "1st compensated", "✓ nets to zero", "wire key"):
        assert part in declined.out
    assert "told the customer   –   the order is shown as failed" in declined.out
    assert max(widest(shown), widest(declined)) <= WIDTH + 4
    assert (status["today"]["completed"], status["today"]["compensated"], status["today"]["usual_percent"]) == (
        1,
        1,
        None,
    )
    assert status["workers"][0]["is_alive"] is True
    assert re.search(r"Unexplained: 0.00, 0 items\.   [\d,.]+ m?s, \d+ MB$", audited.out)


def test_runs_of_one_order_name_each_other(tmp_path: Path) -> None:
    """An order that was rolled back and came again has two sagas, and each page names the other."""
    place = Place(EXAMPLES, tmp_path / "home")
    declined = json.dumps({"order_id": "SO-1", "sku": "mug", "card": "declined"})
    with place.running(["dev", SHOP], "ready"):
        first, second = (
            json.loads(place.run("start", SHOP, declined, "--wait", "--timeout", "30", "-o", "json").out)["saga_id"]
            for _ in range(2)
        )
    for one, other, run in ((first, second, 2), (second, first, 1)):
        done = place.run("show", one, "-d", SHOP)
        assert f"belongs to it       run {run}   compensated   saga {other}" in done.out


def on_terminal(place: Place, *arguments: str, **environment: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "saga", *arguments]
    env = {**place.environment, "TERM": "xterm-256color", "NO_COLOR": "", **environment}
    process = subprocess.Popen(command, cwd=place.directory, env=env, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    written = b""
    try:
        while chunk := _read(ours):
            written += chunk
        assert process.wait(timeout=30) in (0, 3)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so when the last writer has gone
        return b""


def test_colour_on_a_terminal_alone(tmp_path: Path) -> None:
    """A page on a terminal has colour, and is the page of a pipe without it; NO_COLOR, a terminal without colours, a pipe and
    `-o json` have none."""
    place = started(tmp_path, "SO-1")
    painted = on_terminal(place, "status")
    assert f"{COLOUR}31m✗{COLOUR}0m no worker" in painted
    plain = re.sub(r"\x1b\[[0-9;]*m", "", painted)
    stays = _without_time(plain)
    for other in (
        place.run("status").out,
        on_terminal(place, "status", NO_COLOR="1"),
        on_terminal(place, "status", TERM="dumb"),
    ):
        assert COLOUR not in other
        assert _without_time(other) == stays
    assert COLOUR not in on_terminal(place, "status", "-o", "json")


def _without_time(page: str) -> list[str]:
    """The lines but for those that say how old something is, and whether it is due by now."""
    return [line for line in page.splitlines() if not line.startswith(("live", "due"))]


def complete(place: Place, shell: str, typed: str) -> Finished:
    """What the script of a shell asks for, as that shell asks for it."""
    words = typed.split(" ")
    asked = {
        "bash": {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": typed},
        "fish": {"_TYPER_COMPLETE_ARGS": typed, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    more = {**place.more, **asked, "_SAGA_COMPLETE": f"complete_{shell}"}
    return Place(place.directory, place.home, more).run()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_tab_offers_what_is_there(tmp_path: Path, shell: str) -> None:
    """Order ids of the journal that begin as typed, in each shell."""
    place = started(tmp_path, "SO-1", "SO-12", "XY-1")
    offered = complete(place, shell, "saga show SO-")
    assert (sorted(re.findall(r"[SX][OY]-\d+", offered.out)), offered.err) == (["SO-1", "SO-12"], "")


def test_a_tab_offers_statuses(tmp_path: Path) -> None:
    """The values of `--status`, those that begin as typed."""
    statuses = complete(Place(tmp_path, tmp_path / "home"), "bash", "saga list --status comple")
    assert statuses.out.split() == ["completed"]


def test_an_id_that_a_shell_would_run_is_not_offered(tmp_path: Path) -> None:
    """What a tab offers is evaluated by some shells: only plain ids are; a saga id stands for the others."""
    place = started(tmp_path, "$(touch pwned)")
    offered = complete(place, "zsh", "saga show ")
    assert "touch" not in offered.out
    assert re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", complete(place, "bash", "saga show 0").out)


@pytest.mark.parametrize(
    "more", [{}, {"SAGA_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}, {"SAGA_THREADS": "none"}]
)
def test_a_tab_is_silent_on_every_error(tmp_path: Path, more: dict[str, str]) -> None:
    """No journal, a database that is away, a setting that is wrong: no candidate, no word, and nothing is made."""
    done = complete(Place(tmp_path, tmp_path / "home", more), "bash", "saga show S")
    assert (done.out.strip(), done.err) == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", "")])
def test_completion_is_shown_and_installed(tmp_path: Path, shell: str, file: str) -> None:
    """`--show-completion` prints the script that asks `saga`; `--install-completion` puts it where the shell looks."""
    home = tmp_path / "person"
    home.mkdir()
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(home)}
    place = Place(tmp_path, tmp_path / "home", named)
    assert "_SAGA_COMPLETE" in place.run("--show-completion", shell).out
    done = place.run("--install-completion", shell)
    assert (done.code, f"{shell} completion installed" in done.out) == (0, True), done.err
    assert (home / file).exists()
    assert any("_SAGA_COMPLETE" in path.read_text() for path in home.rglob("*") if path.is_file())
