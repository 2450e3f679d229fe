"""A step that kills its process halts its own saga after a bounded number of deaths, and nobody else's (RELIABILITY 11)."""

from saga.core.attempts import LONE_DEATHS
from saga.core.states import HaltReason, SagaStatus
from saga.runtime.engine import Definitions
from saga.store.memory import MemoryStore
from tests.simulation.sagas import SAGAS, begin, line
from tests.simulation.stepping import Process, state_of

DEFINITIONS = Definitions(SAGAS)
BYSTANDERS = 255
DEATH_LIMIT = 12


def test_one_poison_step_among_255_slow_sagas_halts_exactly_one() -> None:
    """Every process that is handed the poisoned call dies at once, with all that it had in flight. Bystanders become
    suspects with it, run alone once, and complete; the poison is counted only when nothing else was open."""
    store = MemoryStore()
    ids = [begin(store, line, f"SO-{number}") for number in range(BYSTANDERS)]
    poison = begin(store, line, "SO-poison")
    deaths = 0
    process = Process(store, DEFINITIONS, "boot-0")
    process.wake(*ids[:40], poison, *ids[40:])
    while True:
        process.settle()
        if any(call.state.saga_id == poison for call in process.calls):
            deaths += 1
            assert deaths <= DEATH_LIMIT, "the poison kills one process after the other"
            store.close_worker(process.worker_id)
            process = Process(store, DEFINITIONS, f"boot-{deaths}")
            process.wake(*ids[:40], poison, *ids[40:])
        elif process.calls:
            process.finish(process.calls[0])
        else:
            break
    states = {saga_id: state_of(store, DEFINITIONS, saga_id) for saga_id in ids}
    assert {state.status for state in states.values()} == {SagaStatus.COMPLETED}
    halt = state_of(store, DEFINITIONS, poison).halt
    assert halt is not None
    assert halt.reason is HaltReason.POISON
    assert deaths == 2 + LONE_DEATHS
    assert max(state.node("a:a").suspect_count for state in states.values()) >= 1, "nobody stood beside it"
