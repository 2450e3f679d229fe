"""A worker process whose every thread hangs ends, with a code that says failure: whoever watches over it starts another."""

import os

import pytest

from tests.integration.celery.deployment import Deployment
from tests.waiting import wait_until


@pytest.mark.timeout(90)
@pytest.mark.parametrize("driver", ["process"])
def test_a_worker_of_hung_threads_ends_with_a_code_that_says_failure(on_rabbitmq: Deployment) -> None:
    """Of two threads one is for actions. The process does not go on taking its share of the messages, and the thread that
    hangs does not keep it."""
    shop = on_rabbitmq
    child = shop.process_worker(threads=2, check_timeout_s=0.3)
    shop.start(gate=str(shop.folder / "never"))
    wait_until(lambda: shop.lines("check"), 20, what="the step to begin")
    assert child.wait(18) == os.EX_SOFTWARE
    assert "worker_broken" in shop.stderr()
