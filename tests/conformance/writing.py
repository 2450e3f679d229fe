"""A process that accepts sagas and appends to them one by one; any answer but success ends it with an error."""

import sys
from dataclasses import replace

from saga.store.opening import open_store
from saga.store.port import AcceptStatus, AppendResult
from tests.conformance.building import append_of, new_saga


def main(url: str, sagas: str, entries: str, number: str) -> None:
    """Write `sagas` sagas of `entries` entries each, under ids that carry `number`."""
    store = open_store(url)
    for index in range(int(sagas)):
        saga_id = f"p{number}-{index}"
        new = replace(new_saga(store), saga_id=saga_id, entity=saga_id)
        assert [result.status for result in store.accept([new])] == [AcceptStatus.ACCEPTED]
        for seq in range(2, int(entries) + 1):
            assert store.append([append_of(store, saga_id, seq)]) == [AppendResult.APPENDED]
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
