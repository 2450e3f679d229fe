"""Puts stock on the shelf for orders that are handed over: what they take, or what a folder of orders says it has."""

from collections.abc import Mapping
from hashlib import sha256

import requests

from saga.errors import DataRefused, StoreUnavailable
from saga.fulfilment.models import Order
from saga.surfaces.request_keys import key_of
from saga.surfaces.returning import code_of
from saga.surfaces.submit import CALL_S, KEY_REUSED, object_of, session
from saga.surfaces.unanswered import why_unanswered


class Provisioner:
    """Puts on stock what an order takes, once per order id."""

    def __init__(self, inventory_url: str) -> None:
        self._url = inventory_url.rstrip("/") + "/v1/stock"
        self._session = session()

    def provide(self, order: Order) -> None:
        if self._put(order.order_id, order.stock) == KEY_REUSED:  # the order was corrected, and takes other pieces now
            self._put(f"{order.order_id}:{_digest(order.stock)}", order.stock)

    def stock(self, pieces: Mapping[str, int]) -> None:
        """Put these on stock, once for the same pieces."""
        self._put(f"stock:{_digest(pieces)}", pieces)

    def _put(self, what: str, pieces: Mapping[str, int]) -> str:
        """Empty, or `KEY_REUSED` where the key put other pieces there."""
        items = [{"sku": sku, "quantity": quantity} for sku, quantity in pieces.items()]
        headers = {"Idempotency-Key": key_of("provision:", what)}
        try:
            answer = self._session.post(self._url, json={"items": items}, headers=headers, timeout=CALL_S)
        except requests.RequestException as error:
            raise StoreUnavailable(f"no answer from inventory at {self._url}: {why_unanswered(error)}") from error
        if code_of(answer) == KEY_REUSED:
            return KEY_REUSED
        if answer.status_code == 422:
            raise DataRefused(what, f"provision: {object_of(answer).get('detail', 'refused')}")
        if answer.status_code >= 400:
            raise StoreUnavailable(f"inventory at {self._url} answers {answer.status_code} to a provision")
        return ""


def _digest(pieces: Mapping[str, int]) -> str:
    return sha256(repr(sorted(pieces.items())).encode()).hexdigest()[:32]
