"""The audit is not blind: each invariant is broken once by hand, and it tells, with the order, and no other does."""

from typing import Any

import pytest

from saga.core.states import SagaStatus
from saga.surfaces.audit import AuditReport, render
from tests.integration.audit.books import Books
from tests.integration.audit.conftest import ACCEPTED, COMPLETED, DECLINED, HALTED, ORACLE, OUT_OF_STOCK, World
from tests.integration.audit.falsifying import Body, execute, places_of, rewrite

DONE = COMPLETED[0]


def tells(report: AuditReport, *invariants: str, order_id: str = DONE) -> None:
    """Exactly these invariants are broken, the order is named, and the page and the exit code say so too."""
    found = [f"{it.invariant} {it.order_id}: {it.detail}" for it in report.violations]
    assert {it.invariant.value for it in report.violations} == set(invariants), found
    assert order_id in {it.order_id for it in report.violations}, found
    assert report.exit_code == 1
    assert f"✗ {order_id}" in render(report)


def rows_of(books: Books, service: str, order_id: str, operation: str) -> list[dict[str, Any]]:
    """Rows of one order's operation in a ledger; at least one."""
    found = [row for row in books.ledger[service] if row["order_id"] == order_id and row["operation"] == operation]
    assert found
    return found


def test_a_capture_that_is_missing(world: World) -> None:
    """I1: a completed order whose capture is not in the payment ledger; its hold stays open as well."""
    capture = rows_of(world.books, "payment", DONE, "POST /v1/captures")[0]
    world.books.ledger["payment"].remove(capture)
    report = world.audit()
    tells(report, "I1")
    assert report.unexplained_money == {"GBP": 2 * capture["amount"]}


def test_a_capture_of_another_amount(world: World) -> None:
    """I1: the customer paid a penny more than goods, tax and freight; the total is the order's and not the engine's."""
    for operation in ("POST /v1/authorizations", "POST /v1/captures"):
        rows_of(world.books, "payment", DONE, operation)[0]["amount"] += 1
    report = world.audit()
    tells(report, "I1")
    assert report.unexplained_money == {"GBP": 1}


def test_a_capture_that_is_doubled(world: World) -> None:
    """I1 and I3: money moved twice under one key is too much money, and a key that was used twice."""
    capture = rows_of(world.books, "payment", DONE, "POST /v1/captures")[0]
    hold = rows_of(world.books, "payment", DONE, "POST /v1/authorizations")[0]
    for row in (hold, capture):
        world.books.ledger["payment"].append({**row, "id": len(world.books.ledger["payment"]) + 1})
    tells(world.audit(), "I1", "I3")


def test_a_charge_of_an_order_that_was_rolled_back(world: World) -> None:
    """I1: a declined order that paid nevertheless, under the key of its authorization."""
    key = next(row["key"] for row in world.books.barrier["payment"] if row["order_id"] == DECLINED)
    world.books.keep("payment", "POST /v1/authorizations", key, DECLINED, "action", "applied")
    posting = {"entry_id": "e", "amount": 500, "currency": "GBP"}
    world.books.write(
        "payment", "POST /v1/authorizations", key, DECLINED, debit=f"customer:{DECLINED}", credit="merchant", **posting
    )
    report = world.audit()
    tells(report, "I1", order_id=DECLINED)
    assert report.unexplained_money == {"GBP": 500}


def test_a_hold_that_was_never_released(world: World) -> None:
    """I1: an authorisation that is neither captured nor released ties up the customer's money."""
    capture = rows_of(world.books, "payment", DONE, "POST /v1/captures")[0]
    capture["debit"] = f"customer:{DONE}"
    tells(world.audit(), "I1")


def test_a_posting_without_a_counterpart(world: World) -> None:
    """I1: double entry means that what one account gets, another gives."""
    capture = rows_of(world.books, "payment", DONE, "POST /v1/captures")[0]
    capture["debit"] = capture["credit"]
    tells(world.audit(), "I1")


def test_another_customers_money(world: World) -> None:
    """I1: an order is paid by its own customer."""
    rows_of(world.books, "payment", DONE, "POST /v1/authorizations")[0]["debit"] = f"customer:{COMPLETED[1]}"
    tells(world.audit(), "I1")


def test_a_tax_that_was_never_quoted(world: World) -> None:
    """I1: the total is added up from the tax ledger; without a quote in it the total is the engine's word."""
    world.books.ledger["tax"].remove(rows_of(world.books, "tax", DONE, "POST /v1/tax-quotes")[0])
    tells(world.audit(), "I1")


def test_a_shipment_from_the_shelf_that_is_not_in_the_ledger(world: World) -> None:
    """I2: a row that is cut from the inventory ledger leaves the order's items unexplained."""
    world.books.ledger["inventory"].remove(rows_of(world.books, "inventory", DONE, "POST /v1/reservations/commit")[0])
    report = world.audit()
    tells(report, "I2")
    assert report.unexplained_item_count > 0


def test_a_quantity_that_was_changed(world: World) -> None:
    """I2: one piece more shipped than ordered."""
    rows_of(world.books, "inventory", DONE, "POST /v1/reservations/commit")[0]["quantity"] += 1
    tells(world.audit(), "I2")


@pytest.mark.parametrize("bucket", ["initial", "available", "reserved", "shipped"])
def test_a_shelf_that_does_not_add_up(world: World, bucket: str) -> None:
    """I2: per SKU initial = available + reserved + shipped, and each is what the ledger adds up to."""
    world.books.stock["mug"][bucket] += 1
    report = world.audit()
    assert {it.invariant.value for it in report.violations} == {"I2"}
    assert all("mug" in it.detail for it in report.violations)
    assert report.unexplained_item_count == 1


def test_a_reservation_that_was_not_released(world: World) -> None:
    """I2: an order that was rolled back holds no stock; here shelf and ledger agree with one another, and not with it."""
    releases = rows_of(world.books, "inventory", DECLINED, "POST /v1/reservations/undo")
    for row in releases:
        world.books.ledger["inventory"].remove(row)
        world.books.stock[row["sku"]]["reserved"] += row["quantity"]
        world.books.stock[row["sku"]]["available"] -= row["quantity"]
    report = world.audit()
    tells(report, "I2", order_id=DECLINED)
    assert report.unexplained_item_count == 3


def test_an_effect_under_a_key_that_nobody_promised(world: World) -> None:
    """I3: a movement for an order that exists, under a key that stands in no journal."""
    for source, target in (("available", "reserved"), ("reserved", "available")):
        columns = {"sku": "mug", "bucket_from": source, "bucket_to": target, "quantity": 1}
        world.books.write("inventory", "POST /v1/reservations", "z" * 32, DONE, **columns)
    tells(world.audit(), "I3")


def test_money_of_an_order_that_nobody_knows(world: World) -> None:
    """I3: a charge for an order without a saga is unexplained money."""
    posting = {"entry_id": "e", "debit": "customer:SO-99", "credit": "merchant", "amount": 700, "currency": "GBP"}
    world.books.write("payment", "POST /v1/captures", "z" * 32, "SO-99", **posting)
    report = world.audit()
    tells(report, "I3", order_id="SO-99")
    assert report.unexplained_money == {"GBP": 700}


def test_a_barrier_row_under_a_key_that_nobody_promised(world: World) -> None:
    """I3: a key that a participant knows and no journal."""
    world.books.keep("payment", "POST /v1/captures", "z" * 32, DONE, "action", "rejected")
    tells(world.audit(), "I3")


def test_two_applied_effects_under_one_key(world: World) -> None:
    """I3: a barrier that let one key through twice."""
    row = next(row for row in world.books.barrier["payment"] if row["order_id"] == DONE)
    world.books.barrier["payment"].append({**row, "id": 99})
    tells(world.audit(), "I3")


def test_an_effect_without_a_barrier_row(world: World) -> None:
    """I3: something was done, and the barrier does not know of it, so a repeat would do it again."""
    barrier = world.books.barrier["payment"]
    barrier.remove(next(row for row in barrier if row["order_id"] == DONE))
    tells(world.audit(), "I3")


def test_an_effect_before_its_intent(world: World) -> None:
    """I3: nothing leaves before the attempt is in the journal, so nothing can have happened before it."""
    rows_of(world.books, "payment", DONE, "POST /v1/captures")[0]["at"] = "2020-01-01T00:00:00+00:00"
    tells(world.audit(), "I3")


def test_an_effect_for_another_order(world: World) -> None:
    """I3: the key says for which order it is."""
    row = next(row for row in world.books.barrier["inventory"] if row["order_id"] == DONE)
    row["order_id"] = COMPLETED[1]
    tells(world.audit(), "I3")


def test_a_key_that_is_made_per_attempt(world: World) -> None:
    """I3: a logical key with another generation is no key of the protocol, whatever was done under it."""

    def change(bodies: list[Body]) -> None:
        at, index = places_of(bodies, "attempt_started", "capture_payment:a")[0]
        bodies[at][index]["key"] = bodies[at][index]["key"].removesuffix(":1") + ":2"

    rewrite(world.database, world.saga_id(DONE), change)
    tells(world.audit(), "I3")


def test_two_compensations_that_changed_places(world: World) -> None:
    """I4: the rollback ran, whole, in another order than its plan; the chain of hashes is made good."""

    def change(bodies: list[Body]) -> None:
        for kind in ("attempt_started", "attempt_ended"):
            (a, i), (b, j) = (places_of(bodies, kind, node)[0] for node in ("book_shipment:c", "reserve_inventory:c"))
            bodies[a][i], bodies[b][j] = bodies[b][j], bodies[a][i]

    rewrite(world.database, world.saga_id(DECLINED), change)
    tells(world.audit(), "I4", order_id=DECLINED)


def test_a_plan_in_another_order(world: World) -> None:
    """I4: the plan is a function of definition and journal; a plan that was changed is found, with what it must be."""

    def change(bodies: list[Body]) -> None:
        at, index = places_of(bodies, "plan_frozen")[0]
        bodies[at][index]["entries"].reverse()

    rewrite(world.database, world.saga_id(DECLINED), change)
    report = world.audit()
    tells(report, "I4", order_id=DECLINED)
    assert any("must be [book_shipment, reserve_inventory]" in it.detail for it in report.violations)


def test_an_undo_that_the_participant_never_saw(world: World) -> None:
    """I4: the journal says compensated, and the barrier has no undo: the plan is judged by the services as well."""
    barrier = world.books.barrier["shipping"]
    barrier.remove(next(row for row in barrier if row["order_id"] == DECLINED and row["kind"] == "undo"))
    report = world.audit()
    assert any("never saw its undo" in it.detail and it.order_id == DECLINED for it in report.violations)
    tells(report, "I3", "I4", order_id=DECLINED)


def test_an_action_after_the_rollback_was_requested(world: World) -> None:
    """I4: a repeat of an action after the saga turned round is an effect that nobody undoes."""

    def change(bodies: list[Body]) -> None:
        at, index = places_of(bodies, "plan_frozen")[0]
        (a, i), (b, j) = (
            places_of(bodies, kind, "calculate_tax:a")[0] for kind in ("attempt_started", "attempt_ended")
        )
        instant = bodies[at][0]["at"]
        again = [{**bodies[a][i], "epoch": 2, "at": instant}, {**bodies[b][j], "epoch": 2, "at": instant}]
        bodies[at][index + 1 : index + 1] = [{key: row[key] for key in row if key != "key"} for row in again]

    rewrite(world.database, world.saga_id(DECLINED), change)
    tells(world.audit(), "I4", order_id=DECLINED)


def test_a_journal_with_a_gap(world: World) -> None:
    """I5: an entry was cut out; nothing else is said about an order whose journal cannot be read."""
    execute(world.database, "DELETE FROM journal WHERE saga_id = ? AND seq = 4", world.saga_id(DONE))
    tells(world.audit(), "I5")


def test_a_journal_without_its_end(world: World) -> None:
    """I5: the last entry was cut off; the row still says completed."""
    saga_id = world.saga_id(DONE)
    last = "SELECT max(seq) FROM journal WHERE saga_id = ?"
    execute(world.database, f"DELETE FROM journal WHERE saga_id = ? AND seq = ({last})", saga_id, saga_id)
    tells(world.audit(oracle=None), "I5")


def test_a_journal_that_was_changed(world: World) -> None:
    """I5: one letter in one entry breaks the chain of hashes."""
    statement = (
        "UPDATE journal SET body = replace(body, 'United Kingdom', 'United Kongdom') WHERE saga_id = ? AND seq = 1"
    )
    execute(world.database, statement, world.saga_id(DONE))
    tells(world.audit(), "I5")


def test_a_journal_with_two_ends(world: World) -> None:
    """I5: a saga ends once."""

    def change(bodies: list[Body]) -> None:
        at, index = places_of(bodies, "saga_completed")[0]
        bodies[at].append({**bodies[at][index], "at": bodies[at][0]["at"]})

    rewrite(world.database, world.saga_id(DONE), change)
    tells(world.audit(), "I5")


def test_a_saga_row_that_says_something_else(world: World) -> None:
    """I5: the cached row is checked against the fold, also where nobody would look."""
    execute(world.database, "UPDATE saga SET status = 'compensated' WHERE saga_id = ?", world.saga_id(DONE))
    tells(world.audit(), "I5")


def test_a_saga_row_that_hides_a_halt(world: World) -> None:
    """I5: a halted saga whose row says running would never come before a person."""
    statement = "UPDATE saga SET status = 'running', halt_reason = NULL WHERE saga_id = ?"
    execute(world.database, statement, world.saga_id(HALTED))
    tells(world.audit(), "I5", order_id=HALTED)


@pytest.mark.parametrize("order_id", [DECLINED, OUT_OF_STOCK, ACCEPTED, "SO-99"])
def test_a_mail_that_should_not_be(world: World, order_id: str) -> None:
    """I6: nobody is told that an order is on its way that was rolled back, has hardly begun, or is not there."""
    (world.mailbox / "x.eml").write_text(f"Subject: Your order {order_id} is on its way\n\nhello\n", encoding="ascii")
    tells(world.audit(), "I6", order_id=order_id)


def test_a_second_mail(world: World) -> None:
    """I6: exactly one confirmation."""
    (world.mailbox / "x.eml").write_text(f"Subject: Your order {DONE} is on its way\n\nagain\n", encoding="ascii")
    tells(world.audit(), "I6")


def test_a_mail_that_was_lost(world: World) -> None:
    """I6: every completed order was told."""
    mail = next(path for path in world.mailbox.glob("*.eml") if f"order {DONE} is" in path.read_text(encoding="utf-8"))
    mail.unlink()
    tells(world.audit(), "I6")


@pytest.mark.parametrize(
    ("order_id", "legal"),
    [
        (DONE, (SagaStatus.COMPENSATED, "declined")),
        (DECLINED, (SagaStatus.COMPLETED, "")),
        (DECLINED, (SagaStatus.COMPENSATED, "out_of_stock")),
        (HALTED, (SagaStatus.COMPLETED, "")),
        (ACCEPTED, (SagaStatus.COMPLETED, "")),
        ("SO-99", (SagaStatus.COMPLETED, "")),
    ],
)
def test_an_order_that_ended_elsewhere(world: World, order_id: str, legal: tuple[SagaStatus, str]) -> None:
    """I7: another end, another cause, no end, or no saga at all."""
    tells(world.audit(oracle={**ORACLE, order_id: legal}), "I7", order_id=order_id)


def test_a_label_that_was_not_voided(world: World) -> None:
    """I8: an order that was rolled back and still owns a label."""
    world.books.ledger["shipping"].remove(rows_of(world.books, "shipping", DECLINED, "POST /v1/shipments/undo")[0])
    tells(world.audit(), "I8", order_id=DECLINED)


def test_a_parcel_that_never_left(world: World) -> None:
    """I8: a completed order whose parcel was not dispatched."""
    world.books.ledger["shipping"].remove(rows_of(world.books, "shipping", DONE, "POST /v1/shipments/dispatch")[0])
    tells(world.audit(), "I8")


def test_two_parcels(world: World) -> None:
    """I8 and I3: two labels bought and dispatched under one key each; a label's number does not hide the repeat."""
    for operation, movement in (("POST /v1/shipments", "bought"), ("POST /v1/shipments/dispatch", "dispatched")):
        row = rows_of(world.books, "shipping", DONE, operation)[0]
        world.books.write("shipping", operation, row["key"], DONE, shipment_id="other", movement=movement)
    tells(world.audit(), "I3", "I8")


def test_a_saga_without_a_journal(world: World) -> None:
    """I5: a row whose journal is gone is told, and its order is not judged by anything else."""
    execute(world.database, "DELETE FROM journal WHERE saga_id = ?", world.saga_id(ACCEPTED))
    tells(world.audit(), "I5", order_id=ACCEPTED)


def test_a_journal_of_a_newer_release(world: World) -> None:
    """What this release cannot read is neither right nor wrong: it is counted and named as not judged."""
    execute(world.database, "UPDATE journal SET min_reader_version = 99 WHERE saga_id = ?", world.saga_id(DONE))
    report = world.audit()
    assert report.violations == ()
    assert "not judged  1 written by a newer release" in render(report)
