"""Mutants of what a participant promises: `saga/barrier.py`, the mocks, the shelf of the inventory, prices, taxes, a database that refuses."""

from tests.mutants.mutant import Mutant

BARRIER = "saga/barrier.py"
STOCK, HOLDS = "services/inventory/stock.py", "services/inventory/reservations.py"
RESTOCKS = "services/inventory/restocks.py"

AT_BARRIER = "tests/integration/services/test_barrier.py::"
SHIPS = "tests/integration/services/test_shipping.py::"
TAXES = "tests/integration/services/test_tax.py::"
REFUSES = "tests/integration/services/test_database_refuses.py::"
AT_INVENTORY = "tests/integration/services/test_inventory.py::"
RESTORED = "tests/integration/runtime/test_restored_journal.py::"
PLACES = "tests/cases/test_places.py::"
HELD_TO = "tests/conformance/test_participant.py::"

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
        "if known.outcome == TOMBSTONE or known.undone_by is not None:\n        raise Tombstoned(key)",
        "if known.outcome == TOMBSTONE:\n"
        "        return Kept(201, '{}', APPLIED)\n"
        "    if known.undone_by is not None:\n"
        "        raise Tombstoned(key)",
        "a late action that meets a tombstone is told that it was done",
        (f"{AT_BARRIER}test_undo_that_comes_first_stops_the_action[sqlite]",),
    ),
    Mutant(
        "undone-is-closed",
        BARRIER,
        "if known.outcome == TOMBSTONE or known.undone_by is not None:",
        "if known.outcome == TOMBSTONE:",
        "a journal that is restored to before its cancel hears that all is held, goes forward and charges",
        (
            f"{AT_BARRIER}test_copy_that_comes_after_the_undo_meets_a_tombstone[sqlite]",
            f"{RESTORED}test_orders_that_were_cancelled_after_the_backup_are_not_charged[sqlite-firm-False]",
            "tests/unit/test_barrier.py::test_a_row_that_an_earlier_release_undid_is_a_tombstone",
        ),
    ),
    Mutant(
        "undone-before-another-body",
        BARRIER,
        "if known.outcome == TOMBSTONE or known.undone_by is not None:\n"
        "        raise Tombstoned(key)\n"
        "    if known.request_hash != request_hash or known.operation != operation:\n"
        "        raise KeyReused(key)",
        "if known.outcome != TOMBSTONE and (known.request_hash != request_hash or known.operation != operation):\n"
        "        raise KeyReused(key)\n"
        "    if known.outcome == TOMBSTONE or known.undone_by is not None:\n"
        "        raise Tombstoned(key)",
        "a restored order whose request a newer release makes of other bytes halts as a defect instead of rolling back",
        (f"{AT_BARRIER}test_copy_that_comes_after_the_undo_meets_a_tombstone[sqlite]",),
    ),
    Mutant(
        "rejected-and-undone-is-closed",
        BARRIER,
        "    if action is not None and action.undone_by is None:\n",
        "    if action is not None and action.undone_by is None and action.outcome == APPLIED:\n",
        "what a key answers after its undo depends on what came before it",
        (f"{AT_BARRIER}test_rejected_and_undone_is_closed_too[sqlite]",),
    ),
    Mutant(
        "mock-is-closed-by-its-undo",
        "saga/surfaces/mocks.py",
        "        if key in self._tombstones:\n",
        "        if key in self._tombstones and key not in self._kept:\n",
        "a restored saga goes forward at a mock, and what is tried out there is not what happens at a participant",
        (f"{HELD_TO}test_a_mock_keeps_the_rules[an_undo_after_its_action_closes_the_key]",),
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
    Mutant(
        "quote-reads-the-postcode-as-the-label",
        "services/shipping/service.py",
        'table.zone_of(code, postcode_of(request.postcode or "", code))',
        'table.zone_of(code, request.postcode or "")',
        "a parcel to an island costs the mainland's price when the postcode has a prefix",
        (f"{SHIPS}test_a_prefix_of_the_country_changes_no_price[ES-35001]",),
    ),
    Mutant(
        "failed-commit-may-stand",
        "services/skeleton/database.py",
        "may_stand=isinstance(error.__cause__, _WhileCommitting)",
        "may_stand=False",
        'a commit that may stand is told as "nothing was done", and the saga goes on as if the effect were absent',
        (f"{REFUSES}test_a_disk_that_is_full_at_the_commit",),
    ),
    Mutant(
        "refusal-before-the-commit-is-certain",
        "services/skeleton/app.py",
        "    if error.may_stand:",
        "    if error:",
        "what was surely not applied counts as unknown",
        (f"{REFUSES}test_a_file_that_takes_no_writes[full]",),
    ),
    Mutant(
        "trouble-under-a-lost-savepoint",
        "services/skeleton/database.py",
        "            if trouble is None:\n                raise",
        "            if trouble is not error:\n                raise",
        "a full SQLite rolls back by itself, and the caller gets a 500 with a traceback",
        (f"{REFUSES}test_a_file_that_takes_no_writes[full]",),
    ),
    Mutant(
        "read-only-server",
        "services/skeleton/database.py",
        '("08", "25006", "53"',
        '("08", "53"',
        "a standby is a 500 with a traceback",
        (f"{REFUSES}test_a_server_that_takes_no_writes",),
    ),
    Mutant(
        "refusal-is-503",
        "services/skeleton/app.py",
        "            Unavailable: _unavailable,\n",
        "",
        "a traceback and a 500 instead of a 503",
        (
            f"{REFUSES}test_a_server_that_is_away",
            f"{REFUSES}test_a_file_that_takes_no_writes[full]",
        ),
    ),
    Mutant(
        "database-away-at-the-start",
        "services/__main__.py",
        "except (SchemaTooNew, Unavailable) as error:",
        "except SchemaTooNew as error:",
        "a service whose database is away starts with a traceback",
        (f"{REFUSES}test_a_database_that_is_away_at_the_start",),
    ),
    Mutant(
        "class-of-the-rate",
        "services/tax/service.py",
        "rate_class=place.class_of(line.tax_class) if place else None",
        "rate_class=line.tax_class if place else None",
        'a quote calls the standard rate "reduced"',
        (f"{TAXES}test_a_reduced_line_pays_the_standard_rate_where_none_is_written_down[sqlite]",),
    ),
    Mutant(
        "exempt-customer-pays-nothing",
        "services/tax/service.py",
        "applied = None if request.tax_exempt else place",
        "applied = place",
        "an exempt customer pays",
        (f"{TAXES}test_where_no_rate_was_applied_no_class_is_named[sqlite]",),
    ),
    Mutant(
        "price-list-by-currency",
        "services/shipping/service.py",
        "zone.price(weight_g) * factor",
        "zone.price(weight_g)",
        "495 pence become 495 yen or 0.495 dinars",
        (f"{SHIPS}test_a_price_is_that_of_the_price_list_of_its_currency[GB]",),
    ),
    Mutant(
        "currency-without-a-price-list",
        "services/shipping/service.py",
        "factor = table.factors.get(request.currency)",
        "factor = table.factors.get(request.currency, 1)",
        "a bare number is charged in a currency that nobody priced",
        (f"{SHIPS}test_a_currency_that_is_not_in_the_price_list",),
    ),
    Mutant(
        "names-in-other-languages",
        "saga/places.py",
        "return _in_english().get(name) or _in_own_languages().get(name)",
        "return _in_english().get(name)",
        "a parcel to Deutschland is undeliverable",
        (f"{PLACES}test_a_country_has_one_code_by_whatever_name",),
    ),
    Mutant(
        "region-of-another-country",
        "services/shipping/addresses.py",
        "*(elsewhere or _refused_region(fields, region, code, rules)),",
        "*_refused_region(fields, region, code, rules),",
        "an order to Germany goes out with the region of California, which the label drops",
        (f"{PLACES}test_the_region_of_another_country_is_refused",),
    ),
    Mutant(
        "region-by-its-code",
        "services/shipping/addresses.py",
        "by_code = {folded(it): key for key, name in choices for it in (codes.get(key), region_code(code, name)) if it}",
        'by_code = {folded(it): key for key, name in choices for it in ("", region_code(code, name)) if it}',
        "a prefecture by its code in ISO 3166-2 is no region of Japan",
        (f"{PLACES}test_a_region_goes_by_its_code_and_by_its_name[KR-typed-11-typed]",),
    ),
    Mutant(
        "postcode-without-its-dash",
        "services/shipping/addresses.py",
        "            yield letters[:-behind] + separator[0] + letters[-behind:]\n",
        "            pass\n",
        "1540023 stands on the label as it was typed, and 12345678 is refused in Brazil",
        (f"{PLACES}test_every_example_of_every_country_is_read_with_and_without_its_separators",),
    ),
    Mutant(
        "zero-is-no-postcode",
        "services/shipping/addresses.py",
        'NONE = re.compile(r"[\\W0_]*|',
        'NONE = re.compile(r"[\\W_]*|',
        'the label says "0" where the country has none',
        (f"{PLACES}test_no_postcode_is_none[0]",),
    ),
    Mutant(
        "reason-of-a-rejection",
        "saga/runtime/classify.py",
        'reason = "" if code == TOMBSTONED else one_line(_said(answer, "detail"))[:REASON_MAX]',
        'reason = ""',
        "an order is undeliverable and nobody learns which field is wrong",
        (f"{PLACES}test_what_shipping_says_of_an_address_is_kept_and_shown",),
    ),
]
