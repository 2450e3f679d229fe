"""What a demonstration runs on: a journal on SQLite, a broker that is a folder, the four services in one process, and a worker
in another; this process takes the orders and watches.

Rules of this file
------------------
- Nothing of the environment's addresses is used: a demonstration never touches a database, a participant or a mail server of
  somebody's.
- The worker's process starts first and the services' beside it, because both spend a second on imports.
- What worker and services log goes to files in the home: the terminal belongs to the screen.
- When the block is left by an error or ctrl-C the worker is killed: what was in flight is not waited for.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saga.fulfilment.fulfil_order import fulfil_order
from saga.private import make_private_folder
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.settings import Settings
from saga.store.port import Store
from saga.surfaces.cores import cores_of, on_core
from saga.surfaces.demo_worker import WorkerProcess
from saga.surfaces.embedded import PRODUCT, inhabit, opened_store, registered
from saga.surfaces.folders import made_home
from saga.surfaces.participants import running_services

if TYPE_CHECKING:
    from saga.runtime.celery import Publisher

_UNSET = dict.fromkeys(
    ("database_url", "inventory_url", "tax_url", "shipping_url", "payment_url", "smtp_url", "tenants")
)
"""What the environment may name and a demonstration never uses."""
PARTS = "SQLite · folder broker · 4 services · worker"


@dataclass(slots=True)
class DemoStack:
    """What runs, and where it answers."""

    settings: Settings
    store: Store
    definitions: Definitions
    starter: Starter
    urls: Mapping[str, str]
    broker: Path
    publisher: "Publisher"
    worker: WorkerProcess

    def replace_worker(self) -> None:
        """Start another one at once; the one before is dead."""
        self.worker = started_worker(self.settings)
        self.worker.begin(self.settings.store_url, self.broker, dict(self.urls))


def started_worker(settings: Settings) -> WorkerProcess:
    with on_core(cores_of(settings)[0]):
        return WorkerProcess(settings.home / "worker.log")


@contextmanager
def demo_stack(settings: Settings, home: Path) -> Iterator[DemoStack]:
    """Run everything in a fresh `home` until the block ends. Raises `StoreUnavailable` when a part does not start."""
    from saga.runtime.celery import Publisher, make_app
    from saga.runtime.celery.folder import url_of_folder

    shutil.rmtree(home, ignore_errors=True)
    own = settings.model_copy(update={**_UNSET, "home": home})
    broker = home / "broker"
    with ExitStack() as parts:
        parts.enter_context(inhabit(own))
        made_home(own)
        make_private_folder(broker)
        worker = started_worker(own)
        with _killed_at_error(worker):
            store = opened_store(own)
            parts.callback(store.close)
            definitions, _ = registered(store, [fulfil_order])
            names = [one.name for one in PRODUCT]
            with on_core(cores_of(own)[1]):
                urls = parts.enter_context(running_services(names, home / "services", home / "services.log"))
            starter = Starter(store, environment=own.environment, tenant=own.tenant)
            parts.callback(starter.stop)
            publisher = Publisher(make_app(url_of_folder(broker), definitions))
            parts.callback(publisher.close, 0.0)
            worker.begin(own.store_url, broker, urls)
            worker.await_ready()
        stack = DemoStack(own, store, definitions, starter, urls, broker, publisher, worker)
        try:
            yield stack
        except BaseException:
            stack.worker.kill()
            raise
        stack.worker.stop()


@contextmanager
def _killed_at_error(worker: WorkerProcess) -> Iterator[None]:
    try:
        yield
    except BaseException:
        worker.kill()
        raise
