"""A process that registers a worker, appends as it, says so on stdout and stays until it is ended: to be killed."""

import sys
import threading

from saga.store.opening import open_store
from saga.store.port import Append, WorkerRow
from tests.conformance.building import entry_of


def main(url: str, worker_id: str, lease_ttl_s: str, saga_id: str) -> None:
    """Register with that lease, write entry 2 of the saga, and renew every half second."""
    store = open_store(url)
    store.register_worker(WorkerRow(worker_id, "child", 1, ("inventory",), float(lease_ttl_s)))
    store.append([Append(saga_id, entry_of(store, saga_id, 2, writer=worker_id))])
    print("registered", flush=True)
    pause = threading.Event()
    while not pause.wait(0.5):
        store.renew_lease(worker_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
