"""POST /v1/orders/{id}/returns: what comes back is what was sold and has not come back, whoever else asks at that moment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Barrier, Thread
from typing import Any

import pytest

from saga.core.connector import Model
from saga.core.definition import Saga
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import SagaStatus
from saga.errors import SagaError
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import MoreThanLeft
from saga.runtime.engine import fold
from saga.runtime.starting import Started, Starter
from saga.store.journal import Journal
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.port import (
    AcceptResult,
    AcceptStatus,
    KeptRequest,
    NewSaga,
    SagaFilter,
    SagaRow,
    Store,
)
from saga.surfaces.belongings import kin
from saga.surfaces.taking_back import RETURNS_MAX, ReturnRequest, WantedLine, return_id_of, returns_of, take_back
from tests.conformance.building import mark_damaged
from tests.integration.api.serving import Shop, opened, order_values, problem

SKU = "85123A"
UNKNOWN = Outcome(OutcomeCode.UNKNOWN, "no answer")
REFUSED = Outcome(OutcomeCode.REJECTED, "refund_exceeds_capture")


def completed(shop: Shop, **changes: Any) -> str:
    """The saga of an order that completed."""
    saga_id = shop.accepted(**changes)
    shop.move(saga_id)
    row = shop.store.row(saga_id)
    assert row is not None
    assert row.status is SagaStatus.COMPLETED
    return saga_id


def returns(store: Store) -> list[str]:
    """The ids of all returns that are stored."""
    return sorted(row.entity for row in store.find(SagaFilter(return_order.name), 100))


def test_a_return_is_durable_and_shown_with_its_order(shop: Shop) -> None:
    """202 with what will be refunded and where it is shown; the order lists it, with the same refund from the first moment."""
    completed(shop)
    answer = shop.give_back({SKU: 2})
    found = answer.json()
    assert answer.status_code == 202, answer.text
    assert (found["return_id"], found["order_id"], found["goods"], found["currency"]) == ("R1.SO-1", "SO-1", 510, "GBP")
    assert (found["lines"], found["refund"]) == ([{"sku": SKU, "quantity": 2}], 517)
    assert (answer.headers["location"], answer.headers["retry-after"]) == (f"/v1/sagas/{found['saga_id']}", "1")
    assert any(hint.saga_id == found["saga_id"] for hint in shop.published)
    [listed] = shop.client.get("/v1/orders/SO-1").json()["returns"]
    assert (listed["return_id"], listed["saga_status"], listed["refund"]) == ("R1.SO-1", "running", 517)
    shop.move(found["saga_id"])
    [listed] = shop.client.get("/v1/orders/SO-1").json()["returns"]
    assert (listed["saga_status"], listed["refund"], listed["links"]) == ("completed", 517, found["links"])
    assert shop.client.get(listed["links"]["saga"]).json()["status"] == "completed"


def test_no_lines_mean_all_that_is_left(shop: Shop) -> None:
    """Two of six came back, so four do; then nothing is left."""
    completed(shop)
    assert shop.give_back({SKU: 2}, key="r-1").status_code == 202
    assert shop.give_back(key="r-2").json()["lines"] == [{"sku": SKU, "quantity": 4}]
    found = problem(shop.give_back(key="r-3"), 422, "exceeds_sold")
    assert found["detail"] == "lines: nothing of SO-1 is left that could come back"
    assert returns(shop.store) == ["R1.SO-1", "R2.SO-1"]


def test_a_repeat_is_the_same_return(shop: Shop) -> None:
    """Under its key it gets the kept answer, also when nothing would be left by now; another body under the key is refused,
    and so is the key of an order."""
    completed(shop)
    first = shop.give_back()
    again = shop.give_back()
    assert (again.status_code, again.json()) == (202, first.json())
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    problem(shop.give_back({SKU: 6}), 422, "key_reused")
    problem(shop.give_back(key="key-of-SO-1"), 422, "key_reused")
    problem(shop.post(order_values(order_id="SO-2"), key="r-1"), 422, "key_reused")
    assert returns(shop.store) == ["R1.SO-1"]


@pytest.mark.parametrize(("lines", "says"), [({SKU: 5}, "5 of 85123A"), ({"tin": 1}, "no line of tin")])
def test_more_than_is_left_is_refused(small_shop: Shop, lines: dict[str, int], says: str) -> None:
    """A return that is under way counts; the problem names the line, and nothing is stored."""
    completed(small_shop)
    assert small_shop.give_back({SKU: 2}, key="r-1").status_code == 202
    found = problem(small_shop.give_back(lines, key="r-2"), 422, "exceeds_sold")
    assert says in found["detail"]
    assert [it["field"] for it in found["errors"]] == ["lines.0.quantity"]
    assert returns(small_shop.store) == ["R1.SO-1"]


def test_a_return_that_was_rolled_back_gives_its_pieces_free(shop: Shop) -> None:
    """The refund was refused, so all six can come back again, under the next number."""
    completed(shop)
    shop.move(shop.give_back(key="r-1").json()["saga_id"], {"refund_payment:a": REFUSED})
    again = shop.give_back(key="r-2").json()
    assert (again["return_id"], again["lines"]) == ("R2.SO-1", [{"sku": SKU, "quantity": 6}])
    statuses = [it["saga_status"] for it in shop.client.get("/v1/orders/SO-1").json()["returns"]]
    assert statuses == ["compensated", "running"]


def test_nothing_more_comes_back_while_a_return_waits_for_a_person(shop: Shop) -> None:
    """After a restore its number may be that of a return that was paid and is lost: the bank says that the key is another body's.
    The pieces that are left are not refunded beside it."""
    completed(shop)
    defect = Outcome(OutcomeCode.DEFECT, "HTTP 422 key_reused")
    shop.move(shop.give_back({SKU: 2}, key="r-1").json()["saga_id"], {"refund_payment:a": defect})
    found = problem(shop.give_back(key="r-2"), 409, "return_waits")
    assert found["detail"].endswith("so no more of SO-1 comes back: see  saga show R1.SO-1")
    assert returns(shop.store) == ["R1.SO-1"]


def test_a_return_that_waits_for_a_person_after_its_refund_holds_up_no_other(shop: Shop) -> None:
    """What was paid is known: the pieces that are left come back."""
    completed(shop)
    moved = {"restock_inventory:a": Outcome(OutcomeCode.DEFECT, "KeyError")}
    shop.move(shop.give_back({SKU: 2}, key="r-1").json()["saga_id"], moved)
    assert shop.store.find(SagaFilter(entity="R1.SO-1"), 1)[0].status is SagaStatus.HALTED
    again = shop.give_back(key="r-2")
    assert (again.status_code, again.json()["lines"]) == (202, [{"sku": SKU, "quantity": 4}])


def test_nothing_more_comes_back_beside_a_return_whose_journal_is_damaged(shop: Shop) -> None:
    """What it lacks may be its refund."""
    completed(shop)
    mark_damaged(shop.store, shop.give_back({SKU: 2}, key="r-1").json()["saga_id"])
    found = problem(shop.give_back(key="r-2"), 409, "return_waits")
    assert "R1.SO-1 waits for a person (journal_damaged)" in found["detail"]


def test_the_dearest_pieces_come_back_first_and_once(small_shop: Shop) -> None:
    """Of a SKU at two prices two returns refund both, and not the dearer one twice."""
    lines = [{"sku": "mug", "quantity": 1, "unit_price": price} for price in (300, 500)]
    completed(small_shop, lines=lines)
    goods = [small_shop.give_back({"mug": 1}, key=key).json()["goods"] for key in ("r-1", "r-2")]
    assert goods == [500, 300]


def test_pieces_that_cost_nothing_are_not_refunded(small_shop: Shop) -> None:
    """A gift can come back with something that was paid, and not alone."""
    lines = [{"sku": "gift", "quantity": 1, "unit_price": 0}, {"sku": "mug", "quantity": 1, "unit_price": 300}]
    completed(small_shop, lines=lines)
    found = problem(small_shop.give_back({"gift": 1}, key="r-1"), 422, "worth_nothing")
    assert found["errors"][0]["field"] == "lines"
    assert small_shop.give_back(key="r-2").status_code == 202


def test_an_order_before_its_pivot_is_to_be_cancelled(small_shop: Shop) -> None:
    """409 names the cancel; once that is asked for there is nothing to return."""
    saga_id = small_shop.accepted()
    small_shop.move(saga_id, until="authorize_payment:a")
    found = problem(small_shop.give_back(), 409, "cancel_instead")
    assert (found["saga_id"], found["links"]) == (saga_id, {"cancel": "/v1/orders/SO-1/cancel"})
    assert small_shop.client.post(found["links"]["cancel"], json={"reason": "as told"}).status_code == 202
    problem(small_shop.give_back(), 409, "rolled_back")
    small_shop.move(saga_id)
    assert problem(small_shop.give_back(), 409, "rolled_back")["links"] == {"order": "/v1/orders/SO-1"}
    assert returns(small_shop.store) == []


@pytest.mark.parametrize("until", ["capture_payment:a", "commit_inventory:a"])
def test_an_order_at_its_pivot_and_behind_it_is_to_be_waited_for(small_shop: Shop, until: str) -> None:
    """409 with Retry-After; the cancel is refused behind the pivot and names the return instead."""
    saga_id = small_shop.accepted()
    small_shop.move(saga_id, until=until)
    answer = small_shop.give_back()
    assert problem(answer, 409, "not_completed")["links"] == {"order": "/v1/orders/SO-1"}
    assert answer.headers["retry-after"] == "1"
    if until == "commit_inventory:a":
        assert problem(small_shop.cancel(), 409, "past_no_return")["links"] == {"returns": "/v1/orders/SO-1/returns"}
        small_shop.move(saga_id)
        assert (
            small_shop.client.post(
                "/v1/orders/SO-1/returns", json={"reason": "late"}, headers={"Idempotency-Key": "r"}
            ).status_code
            == 202
        )


def test_an_unknown_order_and_one_of_another_tenant_are_not_found(small_shop: Shop) -> None:
    """404 for both alike, and nothing is stored."""
    other = Starter(small_shop.store, environment="test", tenant="other")
    problem(small_shop.give_back(order_id="SO-9"), 404, "not_found")
    other.stop()
    assert returns(small_shop.store) == []


def test_what_is_there_and_is_no_order_is_called_so(small_shop: Shop) -> None:
    """404 with its definition: whoever has seen it in a list is not told that it is not there."""
    completed(small_shop)
    assert small_shop.give_back({SKU: 1}, key="r-1").status_code == 202
    found = problem(small_shop.give_back(order_id="R1.SO-1", key="r-2"), 404, "not_found")
    assert found["detail"].startswith("'R1.SO-1' is a saga of return_order and no order of this product")
    assert returns(small_shop.store) == ["R1.SO-1"]


def test_the_tag_of_an_order_changes_with_its_returns(small_shop: Shop) -> None:
    """Whoever asks with If-None-Match hears of a return that began, and of its end."""
    completed(small_shop)
    tags = [small_shop.client.get("/v1/orders/SO-1").headers["etag"]]
    saga_id = small_shop.give_back().json()["saga_id"]
    tags.append(small_shop.client.get("/v1/orders/SO-1").headers["etag"])
    small_shop.move(saga_id)
    answer = small_shop.client.get("/v1/orders/SO-1", headers={"If-None-Match": ", ".join(tags)})
    assert answer.status_code == 200
    again = small_shop.client.get("/v1/orders/SO-1", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, len({*tags, answer.headers["etag"]})) == (304, 3)


def test_an_id_as_long_as_an_id_may_be_has_returns_too(small_shop: Shop) -> None:
    """The number finds room beside a digest, and the order lists it."""
    order_id = "L" * 64
    completed(small_shop, order_id=order_id)
    assert small_shop.give_back(order_id=order_id).status_code == 202
    assert len(return_id_of(order_id, 10)) <= 64
    assert len(small_shop.client.get(f"/v1/orders/{order_id}").json()["returns"]) == 1


class MeetingStarter(Starter):
    """Writes its first return only when every other has decided as well what its own is made of."""

    def __init__(self, store: Store, meeting: Barrier) -> None:
        super().__init__(store, environment="test", tenant="shop")
        self.meeting, self.made = meeting, 0

    def start(self, saga: Saga[Any], order: Model, **more: Any) -> Started:
        self.made += 1
        if self.made == 1:
            self.meeting.wait(20)
        return super().start(saga, order, **more)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_two_at_one_moment_do_not_both_take_the_last_piece(request: pytest.FixtureRequest, kind: str) -> None:
    """Two stores on one database, as two processes have them: both read that one piece is left, both write. One return is
    stored; the other caller reads again and is told that nothing is left."""
    url = request.getfixturevalue(f"api_{kind}_url")
    stores = [open_store(url), open_store(url)]
    with opened(stores[0]) as shop:
        completed(shop)
        assert shop.give_back({SKU: 5}, key="r-0").status_code == 202
    meeting, answers = Barrier(2), dict[int, str]()

    def ask(number: int, starter: Starter) -> None:
        wanted = ReturnRequest(lines=(WantedLine(sku=SKU, quantity=1),), reason="last one")
        try:
            taken = take_back(stores[number], starter, return_order, "SO-1", wanted, key=f"r-{number + 1}")
            answers[number] = taken.returned.wanted.return_id
        except SagaError as error:
            answers[number] = type(error).__name__

    starters = [MeetingStarter(store, meeting) for store in stores]
    threads = [Thread(target=ask, args=(number, starter)) for number, starter in enumerate(starters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers.values()) == [MoreThanLeft.__name__, "R2.SO-1"]
    assert sorted(starter.made for starter in starters) == [1, 1]
    taken = [one.wanted.pieces[SKU] for one in returns_of(stores[0], "test", "shop", "SO-1")]
    assert sum(taken) == 6
    for part in (*starters,):
        part.stop()
    for store in stores:
        store.close()


class TouchedStore(MemoryStore):
    """A store at which a test steps between, refuses, or changes what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.twins: list[Callable[[], object]] = []
        self.changed: dict[str, dict[str, Any]] = {}
        self.refuses = False
        self.reads: list[str] = []

    def request(self, environment: str, tenant: str, request_key: str) -> KeptRequest | None:
        """What is kept; then the twin comes, if there is one."""
        found = super().request(environment, tenant, request_key)
        if self.twins:
            self.twins.pop()()
        return found

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        self.reads.append("load")
        found = dict(super().load(saga_ids))
        for saga_id in found.keys() & self.changed:
            *before, last = found[saga_id]
            found[saga_id] = Journal([*before, replace(last, **self.changed[saga_id])])
        return found

    def find(self, saga_filter: SagaFilter, limit: int) -> list[SagaRow]:
        self.reads.append("find")
        return super().find(saga_filter, limit)

    def accept(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        if self.refuses:
            return [AcceptResult(AcceptStatus.REFUSED, "", 0, "no") for _ in group]
        return super().accept(group)


@pytest.fixture
def touched() -> Iterator[tuple[Shop, TouchedStore]]:
    """An API over such a store, with an order of 255 pieces that completed."""
    store = TouchedStore()
    with opened(store) as shop:
        completed(shop, lines=[{"sku": SKU, "quantity": 255, "unit_price": 100}])
        yield shop, store


def test_a_twin_that_was_faster_is_no_refusal(touched: tuple[Shop, TouchedStore]) -> None:
    """Nothing is kept under the key when it is looked at; then the twin, an equal request under the same key, takes all pieces.
    Both get the one return. Another request under the key is told that the key is used, and one under its own key that nothing
    is left."""
    shop, store = touched
    store.twins.append(lambda: shop.give_back(key="r-1"))
    answer = shop.give_back(key="r-1")
    assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (202, "true")
    assert answer.json()["return_id"] == "R1.SO-1"
    assert returns(store) == ["R1.SO-1"]
    problem(shop.give_back({SKU: 1}, key="r-1"), 422, "key_reused")
    problem(shop.give_back(key="r-2"), 422, "exceeds_sold")


@pytest.mark.parametrize("of", ["order", "return"])
@pytest.mark.parametrize("change", [{"body": "{"}, {"min_reader_version": 99}], ids=["damaged", "newer"])
def test_a_journal_that_cannot_be_read_is_told_and_not_decided_by(
    touched: tuple[Shop, TouchedStore], of: str, change: dict[str, Any]
) -> None:
    """Damaged, or written by a newer release, of the order or of an earlier return: 500, as for GET, and no refund begins."""
    shop, store = touched
    first = shop.give_back({SKU: 1}, key="r-0").json()["saga_id"]
    [order] = [row.saga_id for row in shop.rows() if row.entity == "SO-1"]
    store.changed[{"order": order, "return": first}[of]] = change
    problem(shop.give_back({SKU: 1}), 500, "journal_unreadable")
    assert returns(store) == ["R1.SO-1"]


def test_a_return_that_the_database_cannot_hold_is_refused(touched: tuple[Shop, TouchedStore]) -> None:
    """422 for what the start itself refused, and nothing else."""
    shop, store = touched
    store.refuses = True
    found = problem(shop.give_back(), 422, "invalid")
    assert found["detail"] == "the database cannot hold this return; nothing was stored"


def test_many_returns_are_read_together_and_the_latest_are_shown(touched: tuple[Shop, TouchedStore]) -> None:
    """Of 55 returns the order shows 20 and says that 35 were before; the next is decided with two looks at their rows and one
    load of them all. At 200 it ends, also under new keys; a repeat gets its kept answer."""
    shop, store = touched
    for number in range(1, 56):
        assert shop.give_back({SKU: 1}, key=f"r-{number}").status_code == 202
    shown = shop.client.get("/v1/orders/SO-1").json()
    assert [one["return_id"] for one in shown["returns"]] == [f"R{number}.SO-1" for number in range(36, 56)]
    assert shown["returns_before"] == 35
    [row] = [row for row in shop.rows() if row.entity == "SO-1"]
    found, before = kin(store, row, fold(store.load([row.saga_id])[row.saga_id])[0])
    assert ([one.entity for one in found], before) == ([one["return_id"] for one in shown["returns"]], 35)
    store.reads.clear()
    assert shop.give_back({SKU: 1}, key="r-56").status_code == 202
    assert store.reads == ["find", "load", "find", "find", "load", "load"]  # order, returns, and the one that began
    [last] = returns_of(store, "test", "shop", "SO-1")[-1:]
    starter = Starter(store, environment="test", tenant="shop")
    for number in range(57, RETURNS_MAX):
        starter.start(return_order, last.wanted.model_copy(update={"return_id": return_id_of("SO-1", number)}))
    starter.stop()
    assert shop.give_back({SKU: 1}, key="r-200").json()["return_id"] == "R200.SO-1"
    assert shop.give_back({SKU: 1}, key="r-200").headers["idempotency-replayed"] == "true"
    problem(shop.give_back({SKU: 1}, key="r-201"), 409, "too_many_returns")


class SleepingStarter(Starter):
    """One that sleeps between what it was told to start and the start; meanwhile something happens."""

    def __init__(self, store: Store, meanwhile: Callable[[], None]) -> None:
        super().__init__(store, environment="test", tenant="shop")
        self._meanwhile = [meanwhile]

    def start(self, saga: Saga[Any], order: Model, **more: Any) -> Started:
        while self._meanwhile:
            self._meanwhile.pop()()
        return super().start(saga, order, **more)


def test_a_number_that_was_rolled_back_is_not_taken_by_a_sleeper(shop: Shop) -> None:
    """Who read that nothing had come back sleeps; the first return is rolled back meanwhile and a second takes four of six
    pieces. The sleeper does not start the first number again with six: he reads what is left, and there are two."""
    completed(shop)

    def meanwhile() -> None:
        first = shop.give_back({SKU: 1}, key="r-1").json()
        shop.move(first["saga_id"], {"refund_payment:a": REFUSED})
        assert shop.give_back({SKU: 4}, key="r-2").json()["return_id"] == "R2.SO-1"

    sleeper = SleepingStarter(shop.store, meanwhile)
    wanted = ReturnRequest(lines=(WantedLine(sku=SKU, quantity=6),), reason="broken handle")
    with pytest.raises(MoreThanLeft):
        take_back(shop.store, sleeper, return_order, "SO-1", wanted, key="r-3")
    sleeper.stop()
    runs = {(row.entity, row.run): row.status for row in shop.store.find(SagaFilter(return_order.name), 10)}
    assert runs == {("R1.SO-1", 1): SagaStatus.COMPENSATED, ("R2.SO-1", 1): SagaStatus.RUNNING}
