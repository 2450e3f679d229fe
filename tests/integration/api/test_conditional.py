"""ETag, If-None-Match and If-Match: what the caller has seen decides what he is shown and whether his cancel counts."""

import pytest

from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.engine import Definitions
from saga.surfaces.cancelling import CancelRequest, CancelStanding, SagaChanged, cancel
from saga.surfaces.conditions import entity_tag, names_tag, wanted_wait_s
from tests.integration.api.serving import Shop, problem


@pytest.mark.parametrize("path", ["/v1/orders/SO-1", "/v1/sagas/{saga_id}"])
def test_what_did_not_change_is_304(shop: Shop, path: str) -> None:
    """The tag is strong and stays while the journal does; with it the answer is 304 without a body, and after one more
    entry it is another."""
    saga_id = shop.accepted()
    path = path.format(saga_id=saga_id)
    first = shop.client.get(path)
    tag = first.headers["etag"]
    assert tag == f'"{saga_id}-1"'
    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        same = shop.client.get(path, headers={"If-None-Match": value})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert shop.client.get(path, headers={"If-None-Match": '"other"'}).text == first.text
    shop.move(saga_id, until="reserve_inventory:a")
    moved = shop.client.get(path, headers={"If-None-Match": tag})
    assert moved.status_code == 200
    assert moved.headers["etag"] != tag


def test_a_cancel_of_what_has_changed_is_412(shop: Shop) -> None:
    """With If-Match a cancel counts only at the journal entry that was seen; else nothing is written."""
    saga_id = shop.accepted()
    seen = shop.client.get("/v1/orders/SO-1").headers["etag"]
    shop.move(saga_id, until="authorize_payment:a")
    before = shop.kinds(saga_id)
    for value in (seen, "nonsense", f"W/{shop.client.get('/v1/orders/SO-1').headers['etag']}"):
        problem(shop.cancel(**{"If-Match": value}), 412, "changed")
    assert shop.kinds(saga_id) == before
    now = shop.client.get("/v1/orders/SO-1").headers["etag"]
    answer = shop.cancel(**{"If-Match": f"{seen}, {now}"})
    assert (answer.status_code, answer.json()["cancel"]) == (202, "accepted")
    assert answer.headers["etag"] == shop.client.get("/v1/orders/SO-1").headers["etag"] != now


def test_any_order_that_is_there_matches_a_star(shop: Shop) -> None:
    """`If-Match: *` asks for no more than that there is one."""
    shop.accepted()
    assert shop.cancel(**{"If-Match": "*"}).status_code == 200
    problem(shop.cancel("none", **{"If-Match": "*"}), 404, "not_found")


def test_tags_are_compared_as_the_standard_says() -> None:
    """A weak tag matches weakly only; a list is searched; what cannot be read names nothing."""
    tag = entity_tag("s", 7)
    assert names_tag([f'"a", {tag} ,"b"'], tag, weakly=False)
    assert names_tag(['"a"', tag], tag, weakly=False)
    assert names_tag([f"W/{tag}"], tag, weakly=True)
    assert not names_tag([f"W/{tag}"], tag, weakly=False)
    for text in ("", "s-7", '"s-7', '"s-70"', f"x{tag}", '"a" "s-7"'):
        assert not names_tag([text], tag, weakly=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=5"], 5),
        (["respond-async, wait=5; x=1"], 5),
        (["respond-async", "Wait = 7"], 7),
        (['wait="8"'], 8),
        (["wait=99999999999999999999"], 30),
        (["wait=0"], 0),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait"], None),
        (["wait=x, wait=3"], None),
        (["waiting=3"], None),
    ],
)
def test_the_first_wait_counts(headers: list[str], seconds: int | None) -> None:
    """A preference that cannot be read is passed over, and more than the bound is the bound."""
    assert wanted_wait_s(headers, 30) == seconds


def test_a_cancel_at_an_entry_is_written_behind_it_or_not_at_all(shop: Shop) -> None:
    """Whoever appends between the look and the cancel makes it fail, although the order was as it was seen when it was asked:
    the condition is part of the append."""
    saga_id = shop.accepted()
    shop.move(saga_id, until="authorize_payment:a")
    before = shop.kinds(saga_id)
    definitions, asked = Definitions([fulfil_order]), CancelRequest(reason="customer called")
    with pytest.raises(SagaChanged):
        cancel(shop.store, definitions, saga_id, asked, surface="api", only_at=1)
    assert shop.kinds(saga_id) == before
    seq = len(shop.store.load([saga_id])[saga_id])
    found = cancel(shop.store, definitions, saga_id, asked, surface="api", only_at=seq)
    assert (found.standing, found.seq) == (CancelStanding.ACCEPTED, seq + 1)
