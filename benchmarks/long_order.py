"""What one order of many lines costs, from the door to the mail and back: seconds, and the most memory of each process.

The order is sent to the order API of an embedded stack (four services, SQLite, no broker) and waited for; then all of it is
returned, shown and audited. Each size runs in a process of its own, whose peak is that of engine and API; the services
are one process more. With `--database-url` the journal is on that PostgreSQL database, which must be empty, and the
services' databases stay SQLite.

    python -m benchmarks.long_order [--lines 1 2000 10000] [--database-url postgresql://…] [--json]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.settings import Settings
from saga.store.schema import upgrade
from saga.surfaces.audit import audit
from saga.surfaces.embedded import Stack, embedded

SIZES = (1, 2_000, 10_000)
BOUND_S = 300.0
LEEDS = {"name": "A Person", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"}


def order_of(lines: int) -> dict[str, object]:
    """An order whose every line is of another SKU."""
    rows = [{"sku": f"LAMP/{number} #1", "quantity": 2, "unit_price": 4_900} for number in range(lines)]
    return {
        "order_id": f"LONG-{lines}", "customer_id": "C-1", "currency": "GBP", "country": "United Kingdom", "address": LEEDS,
        "lines": rows, "payment_method": "pm_card",
    }  # fmt: skip


def ask(url: str, body: object, key: str) -> requests.Response:
    answer = requests.post(url, json=body, headers={"Idempotency-Key": key}, timeout=BOUND_S)
    assert answer.ok, answer.text[:500]
    return answer


def ended(stack: Stack, saga_id: str) -> None:
    until = time.monotonic() + BOUND_S
    while not ((row := stack.store.row(saga_id)) and (row.ended_at or row.halt_reason)):
        assert time.monotonic() < until, f"{saga_id} has not ended"
        time.sleep(0.02)
    assert row.status == "completed", (row.status, row.halt_reason)


def measure(lines: int, database_url: str | None) -> dict[str, object]:
    """One order, in this process."""
    order, took = order_of(lines), {}
    with tempfile.TemporaryDirectory() as folder:
        settings = (
            Settings(home=Path(folder))
            if database_url is None
            else Settings(home=Path(folder), database_url=database_url)
        )
        if database_url is not None:
            upgrade(database_url, settings.environment)
        with embedded(settings, [fulfil_order, return_order], with_broker=False) as stack:
            items = [{"sku": row["sku"], "quantity": 5} for row in order["lines"]]  # type: ignore[attr-defined]
            ask(f"{stack.urls['inventory']}/v1/stock", {"items": items}, "stock")
            for name, path, body in (
                ("accept", "/v1/orders", order),
                ("return", f"/v1/orders/{order['order_id']}/returns", {"reason": "all of it"}),
            ):
                began = time.monotonic()
                answer = ask(f"{stack.api_url}{path}", body, name)
                took[f"{name}_s"] = time.monotonic() - began
                ended(stack, answer.json()["saga_id"])
                took[f"{name}_to_end_s"] = time.monotonic() - began
            began = time.monotonic()
            shown = requests.get(f"{stack.api_url}/v1/orders/{order['order_id']}", timeout=BOUND_S)
            took["show_s"] = time.monotonic() - began
            began = time.monotonic()
            urls = {name: url for name, url in stack.urls.items() if name != "api"}
            report = audit(stack.store, stack.definitions, urls, settings.mail_folder)
            took["audit_s"] = time.monotonic() - began
            mail_bytes = max(path.stat().st_size for path in settings.mail_folder.glob("*.eml"))
            assert not report.violations, report.violations[:3]
    peaks = {
        "engine_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "services_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    sizes = {
        "order_kib": len(json.dumps(order)) / 1024,
        "shown_kib": len(shown.content) / 1024,
        "mail_kib": mail_bytes / 1024,
    }
    return {"lines": lines, **{name: round(value, 2) for name, value in (took | peaks | sizes).items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=SIZES)
    parser.add_argument("--database-url")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", action="store_true", help="in this process, one size")
    given = parser.parse_args()
    if given.database_url and len(given.lines) > 1:
        parser.error("--database-url: name one size with --lines; the audit knows the services of one run")
    if given.here:
        print(json.dumps(measure(given.lines[0], given.database_url)))
        return
    for lines in given.lines:
        command = [sys.executable, "-m", "benchmarks.long_order", "--here", "--lines", str(lines)]
        if given.database_url:
            command += ["--database-url", given.database_url]
        done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(json.dumps(done) if given.json else "   ".join(f"{name} {value}" for name, value in done.items()))


if __name__ == "__main__":
    main()
