"""What the shell offers after a tab: ids from the journal and names of definitions.

Rules of this file: a completion reads a bounded number of rows, makes and upgrades nothing, and says nothing. Whatever goes
wrong, there is simply no candidate: a person who presses tab did not ask for a report.
"""

from collections.abc import Iterator
from itertools import islice

OFFERED = 50
LOOKED_AT = 1_000
"""So many of the latest sagas are looked through for those that begin as typed."""


def references(incomplete: str) -> list[str]:
    """Order ids, latest first, that begin as typed; saga ids when no order does. Never raises."""
    try:
        return list(islice(_references(incomplete), OFFERED))
    except Exception:  # the shell is in the middle of a line: no candidate is the only answer that it can show
        return []


def _references(incomplete: str) -> Iterator[str]:
    # Only a tab needs them, and every command that takes a reference imports this module for its help.
    from saga.settings import read_settings
    from saga.store.opening import open_store
    from saga.store.port import SagaFilter
    from saga.surfaces.embedded import missing_file
    from saga.surfaces.lookup import pages
    from saga.surfaces.render import SIMPLE

    settings = read_settings()
    if missing_file(settings) is not None or settings.store_url.startswith("memory"):
        return
    store = open_store(settings.store_url, settings.scope, pool_size=1)
    try:
        rows = list(islice(pages(store, SagaFilter()), LOOKED_AT))
        entities = dict.fromkeys(row.entity for row in rows if row.entity.startswith(incomplete))
        simple = [entity for entity in entities if SIMPLE.fullmatch(entity)]
        yield from simple or (row.saga_id for row in rows if incomplete and row.saga_id.startswith(incomplete))
    finally:
        store.close()
