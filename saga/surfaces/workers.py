"""Which living workers may run the sagas of whoever asks, and what to type when none would.

Rules of this file: a worker lives while its lease holds. Whose sagas it runs is for the store to look at: it leaves out the workers
that could run no saga of its scope.
"""

from collections.abc import Iterable

from saga.store.port import Store, WorkerRow


def living_workers(store: Store) -> list[WorkerRow]:
    """Those whose lease holds now, by the database's clock."""
    now = store.now()
    return [worker for worker, lease_until in store.workers() if worker.lives(lease_until, now)]


def how_to_run(definitions: Iterable[str] = ()) -> str:
    """What to type for a worker of these definitions, named as MODULE:NAME; without, for one of those at hand."""
    names = "".join(f" {name}" for name in definitions)
    return f"type  saga worker{names}  or  saga drain{names}"


def what_lacks(store: Store, queues: frozenset[str], definitions: Iterable[str] = ()) -> str | None:
    """What to type when no living worker takes one of these queues, or any where none is named; None when one does."""
    alive = living_workers(store)
    if any(not worker.queues or not queues or queues & set(worker.queues) for worker in alive):
        return None
    who = f"no worker takes {', '.join(sorted(queues))}" if alive else "no worker runs"
    return f"{who}, so nothing moves until one does: {how_to_run(definitions)}"
