"""Mutants of what people see: the order API's idempotency key, and the audit's invariants."""

from tests.mutants.mutant import Mutant

INVARIANTS, ONCE, ROLLBACKS = "saga/surfaces/invariants.py", "saga/surfaces/once.py", "saga/surfaces/rollbacks.py"

NOT_BLIND = "tests/integration/audit/test_audit_not_blind.py::"
READ_AGAIN = "tests/unit/surfaces/test_audit_rollbacks.py::"
ACCEPTING = "tests/integration/api/test_accepting.py::"

SURFACES = [
    Mutant(
        "api-hands-the-key-on",
        "saga/surfaces/api.py",
        "self.definition, order, request_key=key,",
        "self.definition, order, request_key=None,",
        "a client that repeats its POST is told that its own order is a duplicate",
        (f"{ACCEPTING}test_a_repeat_gets_the_kept_answer",),
    ),
    Mutant(
        "api-hashes-the-order",
        "saga/runtime/starting.py",
        "request_hash = sha256(text.encode()).hexdigest()",
        'request_hash = sha256(b"").hexdigest()',
        "another order under a used key is answered with the saga of the first",
        (f"{ACCEPTING}test_another_order_under_a_key_is_refused",),
    ),
    Mutant(
        "file-hands-an-order-over-once",
        "saga/surfaces/submit.py",
        'return f"orders-submit:{order_id}"',
        'return f"orders-submit:{order_id}:{monotonic()}"',
        "a file that is submitted again after a crash is refused order by order",
        ("tests/e2e/test_orders.py::test_a_file_is_submitted_once",),
    ),
    Mutant(
        "audit-money-is-the-total",
        INVARIANTS,
        "        if captured != wanted:\n",
        "        if captured < wanted:\n",
        "a customer pays a penny more and the audit is green",
        (f"{NOT_BLIND}test_a_capture_of_another_amount",),
    ),
    Mutant(
        "audit-nothing-stays-on-hold",
        INVARIANTS,
        "if held := sums.get((currency, HOLDS), 0):",
        "if (held := sums.get((currency, HOLDS), 0)) < 0:",
        "an authorization that nobody released is not told",
        (f"{NOT_BLIND}test_a_hold_that_was_never_released",),
    ),
    Mutant(
        "audit-nothing-stays-reserved",
        INVARIANTS,
        "        if reserved:\n",
        "        if reserved < 0:\n",
        "a reservation that nobody released is not told",
        (f"{NOT_BLIND}test_a_reservation_that_was_not_released",),
    ),
    Mutant(
        "audit-shelf-adds-up",
        INVARIANTS,
        "        if gap:\n",
        "        if gap and not ledgers:\n",
        "pieces vanish from the shelf",
        (f"{NOT_BLIND}test_a_shelf_that_does_not_add_up",),
    ),
    Mutant(
        "audit-asks-the-participant",
        INVARIANTS,
        '        if not rows:\n            yield f"{step.name} was compensated',
        '        if rows is None:\n            yield f"{step.name} was compensated',
        "the journal says undone and the participant never heard of it",
        (f"{NOT_BLIND}test_an_undo_that_the_participant_never_saw",),
    ),
    Mutant(
        "audit-row-is-the-fold",
        INVARIANTS,
        "if (row.status, row.halt_reason) == (state.status, reason):",
        "if row.status == row.status:",
        "the cached status says something else than the journal",
        (f"{NOT_BLIND}test_a_saga_row_that_says_something_else", f"{NOT_BLIND}test_a_saga_row_that_hides_a_halt"),
    ),
    Mutant(
        "audit-told-once",
        INVARIANTS,
        "        if len(mails) > 1:\n",
        "        if len(mails) > 9:\n",
        "the customer gets two confirmations",
        ("tests/integration/audit/test_audit_one_fault.py::test_a_second_mail_behind_the_right_one",),
    ),
    Mutant(
        "audit-key-is-derived-again",
        ONCE,
        "if intent.wire_key != wire:",
        "if not intent.wire_key:",
        "a key that was made per attempt is not told",
        ("tests/integration/audit/test_audit_one_fault.py::test_a_wire_key_that_is_made_per_attempt",),
    ),
    Mutant(
        "audit-one-effect-per-key",
        ONCE,
        "if len(applied) > 1:",
        "if len(applied) > 9:",
        "two applied effects stand under one key",
        (f"{NOT_BLIND}test_two_applied_effects_under_one_key",),
    ),
    Mutant(
        "audit-intent-before-effect",
        ONCE,
        "if it.at + CLOCK_SKEW < intent.at:",
        "if it.at < it.at:",
        "something was done before anybody had written that it would be",
        (f"{NOT_BLIND}test_an_effect_before_its_intent",),
    ),
    Mutant(
        "audit-effect-of-nobody",
        ONCE,
        "            if key not in known_keys and it.order_id not in unreadable and not is_outside_sagas(it):",
        "            if not key and it.order_id not in unreadable and not is_outside_sagas(it):",
        "money moves under a key that no journal knows",
        (f"{NOT_BLIND}test_an_effect_under_a_key_that_nobody_promised",),
    ),
    Mutant(
        "audit-no-action-after-turning",
        ROLLBACKS,
        "            if self.is_turned:\n",
        "            if self.is_turned is None:\n",
        "an action that starts after the saga turned round is not told",
        (
            f"{READ_AGAIN}test_an_action_after_the_rollback_was_requested",
            f"{NOT_BLIND}test_an_action_after_the_rollback_was_requested",
        ),
    ),
    Mutant(
        "audit-plan-is-computed-again",
        ROLLBACKS,
        "if tuple(wanted) != it.entries:",
        "if {one.step for one in wanted} != {one.step for one in it.entries}:",
        "a plan in another order than the definition's is not told",
        (f"{NOT_BLIND}test_a_plan_in_another_order",),
    ),
    Mutant(
        "audit-order-of-the-plan",
        ROLLBACKS,
        "if ahead := self._ahead_of(step):",
        "if not (ahead := self._ahead_of(step)) and not self.plan:",
        "two compensations that changed places are not told",
        (f"{NOT_BLIND}test_two_compensations_that_changed_places",),
    ),
]
