"""What a connector did not declare about its participant is not read into its answers."""

import pytest
from pydantic import BaseModel

from saga.core.connector import Connector
from saga.core.outcomes import OutcomeCode
from saga.runtime.classify import Answer, classify

SILENT = Connector("silent", keys="serialise", remembers_rejections=True, rejected={}, throttled=())


class Receipt(BaseModel):
    number: str


@pytest.mark.parametrize(("status", "code"), [(429, OutcomeCode.DEFECT), (503, OutcomeCode.UNKNOWN)])
def test_a_participant_that_did_not_say_so_does_not_throttle(status: int, code: OutcomeCode) -> None:
    """Only the connector can say that an answer was given before any work; else a 503 may come after it was done."""
    answer = Answer(status, {"retry-after": "1"}, b"{}")
    assert classify(answer, SILENT, Receipt).code is code
