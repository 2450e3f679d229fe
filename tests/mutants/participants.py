"""Mutants of what a participant promises: `saga/barrier.py`, and the shelf of the inventory."""

from tests.mutants.mutant import Mutant

BARRIER = "saga/barrier.py"
STOCK, HOLDS = "services/inventory/stock.py", "services/inventory/reservations.py"
RESTOCKS = "services/inventory/restocks.py"

AT_BARRIER = "tests/integration/services/test_barrier.py::"
AT_INVENTORY = "tests/integration/services/test_inventory.py::"

PARTICIPANTS = [
    Mutant(
        "replay-of-a-duplicate",
        BARRIER,
        "return _replayed_action(known, key, operation, request_hash)",
        "return _acted(connection, act)",
        "a doubled request does its work twice",
        (f"{AT_BARRIER}test_repeat_is_answered_from_what_was_kept[sqlite]",),
    ),
    Mutant(
        "tombstone-is-left",
        BARRIER,
        'stone = {**row, "kind": ACTION,',
        'stone = {**row, "kind": "stone",',
        "an undo overtakes its action, finds nothing, and the action that comes later is done",
        (f"{AT_BARRIER}test_undo_that_comes_first_stops_the_action[sqlite]",),
    ),
    Mutant(
        "tombstone-stops-the-action",
        BARRIER,
        "if known.outcome == TOMBSTONE:\n        raise Tombstoned(key)",
        "if known.outcome == TOMBSTONE:\n        return Kept(201, '{}', APPLIED)",
        "a late action that meets a tombstone is told that it was done",
        (f"{AT_BARRIER}test_undo_that_comes_first_stops_the_action[sqlite]",),
    ),
    Mutant(
        "rejection-is-remembered",
        BARRIER,
        "    connection.execute(statements.keep, answer)\n    return kept",
        "    connection.execute(statements.keep, answer)\n"
        "    if kept.outcome == REJECTED:\n"
        "        connection.execute(table.delete().where(table.c.id == row_id))\n"
        "    return kept",
        "a late copy of a request that was rejected is done, after its saga went on without it",
        (f"{AT_BARRIER}test_rejection_leaves_nothing_and_is_remembered[sqlite]",),
    ),
    Mutant(
        "rejection-rolls-its-work-back",
        BARRIER,
        "with connection.begin_nested():",
        "if connection:",
        "a business no is committed together with half of its work",
        (f"{AT_BARRIER}test_rejection_leaves_nothing_and_is_remembered[sqlite]",),
    ),
    Mutant(
        "key-with-another-body",
        BARRIER,
        "if known.request_hash != request_hash or known.operation != operation:",
        "if known.operation != operation:",
        "another request under a used key is answered with what it did not ask for",
        (f"{AT_BARRIER}test_key_of_another_request_is_refused[sqlite]",),
    ),
    Mutant(
        "key-with-another-operation",
        BARRIER,
        "if known.request_hash != request_hash or known.operation != operation:",
        "if known.request_hash != request_hash:",
        "the key of a reservation is taken by a commit that has the same body",
        ("tests/unit/test_barrier.py::test_key_of_another_operation_is_refused",),
    ),
    Mutant(
        "undo-of-a-rejected-action",
        BARRIER,
        "if action is None or action.outcome != APPLIED:",
        "if action is None:",
        "what was rejected is taken back",
        (f"{AT_BARRIER}test_rejection_leaves_nothing_and_is_remembered[sqlite]",),
    ),
    Mutant(
        "undo-once",
        BARRIER,
        "if action.undone_by is not None:",
        "if action.undone_by is action:",
        "two undos under different keys give the goods back twice",
        (f"{AT_BARRIER}test_undo_moves_back_once[sqlite]",),
    ),
    Mutant(
        "undo-locks-its-action",
        BARRIER,
        "find_locked=find.with_for_update(),",
        "find_locked=find,",
        "two undos at the same time both find the action applied",
        (
            "tests/integration/services/test_barrier_waiting.py::test_two_undos_that_both_found_the_action_move_back_once",
        ),
    ),
    Mutant(
        "undo-key-names-one-action",
        BARRIER,
        "if known.undoes != undoes or known.operation != operation:",
        "if known.operation != operation:",
        "an undo is answered with what another undo did, and its action stays applied",
        (f"{AT_BARRIER}test_undo_key_of_another_undo_is_refused[sqlite]",),
    ),
    Mutant(
        "undo-of-its-own-operation",
        BARRIER,
        'if known.operation != row["operation"]:',
        'if known.operation == "":',
        "the undo of a capture takes an authorization back",
        ("tests/unit/test_barrier.py::test_undo_of_another_operation_is_refused",),
    ),
    Mutant(
        "stock-is-not-oversold",
        STOCK,
        'STOCK.c.warehouse == bindparam("of_warehouse"), taken >= quantity)',
        'STOCK.c.warehouse == bindparam("of_warehouse"))',
        "the statement that moves pieces moves more than there are",
        ("tests/unit/services/test_shelf.py::test_a_line_that_is_short_moves_nothing",),
    ),
    Mutant(
        "stock-all-lines-or-none",
        HOLDS,
        "    return short or taken\n",
        "    return taken or short\n",
        "an order with one SKU short is confirmed",
        (f"{AT_INVENTORY}test_one_line_short_leaves_nothing",),
    ),
    Mutant(
        "restock-locks-before-it-reads",
        RESTOCKS,
        "    lock(context.connection, skus)\n    left = ",
        "    left = ",
        "of two returns at once one is rejected for good, though a piece from another warehouse is left, and halts",
        (f"{AT_INVENTORY}test_what_is_left_is_read_when_its_skus_are_locked",),
    ),
]
