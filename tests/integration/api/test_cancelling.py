"""POST /v1/orders/{id}/cancel: where the point of no return is decides, and the machine is asked each time."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from saga.core.outcomes import Outcome, OutcomeCode
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.surfaces.api import build_api
from tests.integration.api.serving import Shop, answered, opened, order_values, problem, served
from tests.simulation.stepping import Process

DECLINED = {"authorize_payment:a": Outcome(OutcomeCode.REJECTED, "declined")}
REFUSED_CAPTURE = {"capture_payment:a": Outcome(OutcomeCode.REJECTED, "declined")}
DEFECT = Outcome(OutcomeCode.DEFECT, "answer 200 that does not parse")


def test_before_the_pivot_everything_is_undone(shop: Shop) -> None:
    """202 with the order and the cause; the rollback ends the order
    as cancelled with nothing left in the world."""
    saga_id = shop.accepted()
    shop.move(saga_id, until="authorize_payment:a")
    shop.move(saga_id, {"authorize_payment:a": Outcome(OutcomeCode.NOT_SENT, "refused")}, until="firm_reservation:a")
    answer = shop.cancel(reason="customer called")
    assert answer.status_code == 202, answer.text
    found = answer.json()
    assert (found["cancel"], found["status"], found["saga_status"]) == ("accepted", "processing", "compensating")
    assert (found["cause"]["cause"], found["cause"]["detail"]) == ("cancelled", "customer called")
    assert answer.headers["location"] == "/v1/orders/SO-1"
    shop.move(saga_id)
    order = shop.client.get("/v1/orders/SO-1").json()
    assert (order["status"], order["saga_status"]) == ("cancelled", "compensated")
    saga = shop.client.get(f"/v1/sagas/{saga_id}").json()
    assert saga["net_effects"] == []
    assert saga["cancel"] == {
        "at": saga["cancel"]["at"], "actor": "api", "reason": "customer called", "is_refused": False,
    }  # fmt: skip


def test_an_order_that_has_done_nothing_is_cancelled_at_once(shop: Shop) -> None:
    """With an empty plan the cancel ends the order: 200, and every later cancel is 200 and writes nothing."""
    saga_id = shop.accepted()
    for _ in range(3):
        answer = shop.cancel()
        assert (answer.status_code, answer.json()["cancel"]) == (200, "done")
        assert (answer.json()["status"], answer.json()["saga_status"]) == ("cancelled", "compensated")
    assert shop.kinds(saga_id).count("cancel_requested") == 1


def test_a_second_cancel_is_the_same_cancel(shop: Shop) -> None:
    """While it rolls back, a repeat is 202 with the first one's reason, and the journal grows by nothing."""
    saga_id = shop.accepted()
    shop.move(saga_id, until="authorize_payment:a")
    first = shop.cancel(reason="first", **{"Idempotency-Key": "c-1"})
    length = len(shop.kinds(saga_id))
    again = shop.cancel(reason="second", **{"Idempotency-Key": "c-1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["cause"]["detail"] == "first"
    assert len(shop.kinds(saga_id)) == length


@pytest.mark.parametrize("outcome", ["succeeded", "rejected"])
def test_at_the_pivot_it_is_pending(shop: Shop, outcome: str) -> None:
    """While the capture is in flight nothing is compensated: 202 pending. If the money was taken the cancel is refused and
    the order goes on, if not it is rolled back as any declined one."""
    saga_id = shop.accepted()
    process = Process(shop.store, Definitions([fulfil_order]), "one-worker")
    process.wake(saga_id)
    process.settle()
    while not any(call.node == "capture_payment:a" for call in process.calls):
        process.finish(process.calls[0], answered(process.calls[0]))
        process.settle()
    for _ in range(2):
        answer = shop.cancel()
        assert (answer.status_code, answer.json()["cancel"]) == (202, "pending")
        assert answer.json()["saga_status"] == "running"
    assert "rollback_requested" not in shop.kinds(saga_id)
    given = REFUSED_CAPTURE if outcome == "rejected" else {}
    while process.calls:
        call = process.calls[0]
        process.finish(call, given.get(call.node) or answered(call))
        process.settle()
    order = shop.client.get("/v1/orders/SO-1").json()
    if outcome == "rejected":
        assert order["saga_status"] == "compensated"
    else:
        assert (order["status"], order["saga_status"]) == ("confirmed", "completed")
        assert shop.kinds(saga_id).count("cancel_refused") == 1
        assert problem(shop.cancel(), 409, "past_no_return")["saga_id"] == saga_id


@pytest.mark.parametrize("until", ["commit_inventory:a", "confirm_order:a", None])
def test_after_the_pivot_it_is_refused(shop: Shop, until: str | None) -> None:
    """Once the money was taken, and of a completed order: 409, and nothing is written."""
    saga_id = shop.accepted()
    shop.move(saga_id, until=until)
    before = shop.kinds(saga_id)
    assert problem(shop.cancel(), 409, "past_no_return")["saga_id"] == saga_id
    assert shop.kinds(saga_id) == before


def test_of_an_order_that_failed_it_is_done_already(shop: Shop) -> None:
    """What was rolled back for another cause is undone: 200 with the order as it is, and nothing is written."""
    saga_id = shop.accepted()
    shop.move(saga_id, DECLINED)
    before = shop.kinds(saga_id)
    answer = shop.cancel()
    assert (answer.status_code, answer.json()["cancel"], answer.json()["status"]) == (200, "done", "failed")
    assert shop.kinds(saga_id) == before


def test_of_an_order_that_rolls_back_for_another_cause(shop: Shop) -> None:
    """It is on its way to where the cancel wants it: 202 accepted with the cause that stands, and nothing is written."""
    saga_id = shop.accepted()
    shop.move(saga_id, DECLINED, until="book_shipment:c")
    before = shop.kinds(saga_id)
    answer = shop.cancel()
    assert (answer.status_code, answer.json()["cancel"]) == (202, "accepted")
    assert answer.json()["cause"]["cause"] == "rejected"
    assert shop.kinds(saga_id) == before


def halted(shop: Shop, outcomes: dict[str, Outcome]) -> str:
    """An order that came to a halt by these outcomes."""
    saga_id = shop.accepted()
    shop.move(saga_id, outcomes)
    assert shop.client.get("/v1/orders/SO-1").json()["saga_status"] == "halted"
    return saga_id


def test_halted_for_a_person_before_the_pivot(shop: Shop) -> None:
    """Nothing follows, so it is 409 with a code of its own; the cancel is kept, once, for when the order goes on."""
    saga_id = halted(shop, {"authorize_payment:a": DEFECT})
    for _ in range(2):
        found = problem(shop.cancel(), 409, "waits_for_person")
        assert found["links"] == {"saga": f"/v1/sagas/{saga_id}"}
        assert found["detail"] == (
            "SO-1 waits for a person (defect): nothing is undone now, the cancel is kept, and no command of this release moves it"
        )
    assert shop.kinds(saga_id).count("cancel_requested") == 1
    assert "rollback_requested" not in shop.kinds(saga_id)


def test_halted_for_a_person_at_the_pivot(shop: Shop) -> None:
    """Nobody knows whether the money was taken, and nobody asks: 409, and nothing is compensated."""
    saga_id = halted(shop, {"capture_payment:a": DEFECT})
    problem(shop.cancel(), 409, "waits_for_person")
    assert "rollback_requested" not in shop.kinds(saga_id)


def test_halted_for_a_person_after_the_pivot(shop: Shop) -> None:
    """The money was taken: 409."""
    halted(shop, {"commit_inventory:a": Outcome(OutcomeCode.REJECTED, "unknown_reservation")})
    problem(shop.cancel(), 409, "past_no_return")


def test_halted_for_a_person_in_the_rollback(shop: Shop) -> None:
    """Its rollback waits for a person, and a cancel adds nothing: 409, and nothing is written."""
    saga_id = halted(shop, {**DECLINED, "book_shipment:c": DEFECT})
    before = shop.kinds(saga_id)
    assert "is in its rollback, which waits for a person" in problem(shop.cancel(), 409, "waits_for_person")["detail"]
    assert shop.kinds(saga_id) == before


def test_halted_and_healing_itself(shop: Shop) -> None:
    """A participant is down: the cancel ends the trying, and what was done is undone."""
    down = Outcome(OutcomeCode.NOT_SENT, "connection refused")
    saga_id = shop.accepted()
    process = Process(shop.store, Definitions([fulfil_order]), "one-worker")
    process.wake(saga_id)
    process.settle()
    for _ in range(200):
        if shop.client.get("/v1/orders/SO-1").json()["saga_status"] == "halted":
            break
        if not process.calls:
            process.late_s += 3600
            process.wake(saga_id)
            process.settle()
            continue
        call = process.calls[0]
        process.finish(call, down if call.node == "authorize_payment:a" else answered(call))
        process.settle()
    saga = shop.client.get(f"/v1/sagas/{saga_id}").json()
    assert saga["halt"]["heals_itself"] is True
    shop.published.clear()
    answer = shop.cancel()
    assert (answer.status_code, answer.json()["cancel"]) == (202, "accepted")
    assert answer.json()["saga_status"] == "compensating"
    assert [hint.task for hint in shop.published] == ["fulfil_order.book_shipment.compensation"]
    shop.move(saga_id)
    assert shop.client.get("/v1/orders/SO-1").json()["status"] == "cancelled"


def test_an_unknown_order_is_404(shop: Shop) -> None:
    """There is nothing to cancel."""
    problem(shop.cancel("none"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ("{", 400, "not_json", "body"),
        ("{}", 422, "invalid", "reason"),
        ('{"reason": ""}', 422, "invalid", "reason"),
        ('{"reason": 7}', 422, "invalid", "reason"),
        ('{"reason": "a\\u0000b"}', 422, "invalid", "reason"),
        ('{"reason": "a", "actor": "b\\nc"}', 422, "invalid", "actor"),
        ('{"reason": "a", "plan": "x"}', 422, "invalid", "plan"),
        (f'{{"reason": "{"x" * 501}"}}', 422, "invalid", "reason"),
    ],
)
def test_a_bad_cancel_is_refused(small_shop: Shop, body: str, status: int, code: str, field: str) -> None:
    """The field and its rule are named, and nothing is written."""
    saga_id = small_shop.accepted()
    headers = {"Content-Type": "application/json"}
    answer = small_shop.client.post("/v1/orders/SO-1/cancel", content=body, headers=headers)
    assert field in {error["field"] for error in problem(answer, status, code)["errors"]}
    assert small_shop.kinds(saga_id) == ["saga_accepted"]


def test_a_malformed_key_or_type_is_refused(small_shop: Shop) -> None:
    """The key is not needed; one that is no key, or a form, is refused as for an order."""
    small_shop.accepted()
    problem(small_shop.cancel(**{"Idempotency-Key": "a b"}), 400, "key_malformed")
    problem(small_shop.client.post("/v1/orders/SO-1/cancel", data={"reason": "x"}), 415, "not_offered_type")


def test_a_definition_that_this_process_lacks() -> None:
    """An API of another version cannot decide for the saga: 503, and nothing is written."""
    store = MemoryStore()
    with opened(store) as shop:
        saga_id = shop.accepted()
    from fastapi.testclient import TestClient

    from saga.core.definition import Saga

    newer = Saga(
        "fulfil_order", version=3, input=fulfil_order.input, entity=fulfil_order.entity, steps=fulfil_order.steps
    )
    starter = Starter(store, environment="test", tenant="shop")
    with TestClient(build_api(store, Definitions([newer]), starter, lambda _hints: None)) as client:
        problem(client.post("/v1/orders/SO-1/cancel", json={"reason": "x"}), 503, "definition_missing")
    starter.stop()
    assert len(store.load([saga_id])[saga_id]) == 1


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_a_cancel_races_the_capture(kind: str, request: pytest.FixtureRequest) -> None:
    """The journal decides (RELIABILITY 38): whether the cancel or the outcome of the capture is written first, no order is
    both paid and cancelled, and whoever was told pending finds it refused."""
    store = open_store(request.getfixturevalue(f"api_{kind}_url"))
    with served(store) as shop, ThreadPoolExecutor(2) as pool:
        for number in range(8):
            saga_id = shop.accepted(order_id=f"SO-{number}")
            process = Process(store, Definitions([fulfil_order]), f"worker-{number}")
            process.wake(saga_id)
            process.settle()
            while process.calls[0].node != "capture_payment:a":
                process.finish(process.calls[0], answered(process.calls[0]))
                process.settle()
            gate = Barrier(2)

            def capture(process: Process = process, gate: Barrier = gate) -> None:
                gate.wait()
                process.finish(process.calls[0], answered(process.calls[0]))
                process.settle()

            moving = pool.submit(capture)
            gate.wait()
            answer = shop.cancel(f"SO-{number}")
            moving.result()
            while process.calls:
                process.finish(process.calls[0], answered(process.calls[0]))
                process.settle()
            kinds = shop.kinds(saga_id)
            assert shop.client.get(f"/v1/orders/SO-{number}").json()["status"] == "confirmed"
            assert "rollback_requested" not in kinds
            if answer.status_code == 202:
                assert answer.json()["cancel"] == "pending"
                assert kinds.count("cancel_refused") == 1
            else:
                problem(answer, 409, "past_no_return")
                assert kinds.count("cancel_requested") == kinds.count("cancel_refused")
    store.close()


def test_fifty_cancels_at_once_are_one(api_postgres_url: str) -> None:
    """A double click fifty times over: one cancel in the journal, every answer 200 or 202."""
    store = open_store(api_postgres_url)
    with served(store) as shop, ThreadPoolExecutor(50) as pool:
        saga_id = shop.accepted()
        shop.move(saga_id, until="authorize_payment:a")
        answers = list(pool.map(lambda _: shop.cancel(), range(50)))
        assert {answer.status_code for answer in answers} == {202}
        assert shop.kinds(saga_id).count("cancel_requested") == 1
        assert shop.post(order_values(), key="another").status_code == 409
    store.close()
