"""What an app's settings may be when sagas are attached to it: what would keep them from running is refused by name, what
our tasks can settle for themselves changes nothing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import WorkController
from kombu import Queue
from pydantic import BaseModel

from saga.core.definition import Saga, compensatable, readonly
from saga.errors import UsageError
from saga.runtime.celery import Attachment, attach, make_app
from saga.runtime.celery.node_task import PINNED


class Order(BaseModel):
    order_id: str


class Held(BaseModel):
    hold: str


def look(_order: Order) -> None: ...


def hold(order: Order) -> Held:
    return Held(hold=order.order_id)


def free(_held: Held) -> None: ...


def own() -> None: ...


def sagas() -> list[Saga[Any]]:
    steps = [
        readonly(look, queue="front"),
        compensatable(hold, compensation=free, keys="serialise", queue="stock", timeout_s=12.5),
    ]
    return [Saga("asked", version=1, input=Order, entity=lambda order: order.order_id, steps=steps)]


QUEUES = ["front", "stock", "stock.rollback"]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "pickle alone": ({"accept_content": ["pickle"]}, r"accept_content=\['pickle'\].*add 'json'"),
    "signed messages alone": (
        {"accept_content": ["auth"]},
        r"accept_content=\['auth'\].*make_app\(broker_url, sagas\)",
    ),
    "one text instead of a list": ({"accept_content": "json"}, "accept_content='json'"),
    "no queue of ours, and none is made": ({"task_create_missing_queues": False}, "front, stock, stock.rollback"),
    "no queue for compensations": (
        {"task_create_missing_queues": False, "task_queues": [Queue("front"), Queue("stock")]},
        "task_create_missing_queues=False.*add to task_queues: stock.rollback$",
    ),
}
ALLOWED: dict[str, dict[str, Any]] = {
    "json by its type": {"accept_content": ["pickle", "application/json"]},
    "anything": {"accept_content": None},
    "all queues, by name": {"task_create_missing_queues": False, "task_queues": {name: {} for name in QUEUES}},
    "all queues": {"task_create_missing_queues": False, "task_queues": [Queue(name) for name in QUEUES]},
}


def existing_app() -> Celery:
    return Celery("existing", broker="memory://", set_as_current=False)


def attached(app: Celery) -> Attachment:
    return attach(app, sagas(), store_url="memory://", driver="task")


def make_worker(app: Celery) -> None:
    options: dict[str, Any] = {"pool": "solo"}
    WorkController(app=app, **options)


def update(app: Celery, settings: dict[str, Any]) -> None:
    app.conf.update(settings)


def name_source(app: Celery, settings: dict[str, Any]) -> None:
    app.config_from_object(settings)


def read_and_update(app: Celery, settings: dict[str, Any]) -> None:
    assert app.conf.task_protocol == 2  # configures it
    app.conf.update(settings)


WAYS = [update, name_source, read_and_update]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_would_keep_sagas_from_running_is_refused_when_they_are_attached(
    case: str, way: Callable[[Celery, dict[str, Any]], None]
) -> None:
    """By the name of the setting and with what to write, however the setting was set before."""
    settings, said = REFUSED[case]
    app = existing_app()
    way(app, settings)
    with pytest.raises(UsageError, match=said):
        attached(app)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_set_later_is_refused_when_a_worker_is_made(
    case: str, way: Callable[[Celery, dict[str, Any]], None]
) -> None:
    """Celery reads its settings late; a worker of the app does not begin with these."""
    settings, said = REFUSED[case]
    app = existing_app()
    attached(app)
    way(app, settings)
    with pytest.raises(UsageError, match=said):
        make_worker(app)


@pytest.mark.parametrize("case", ALLOWED)
def test_what_lets_sagas_run_is_not_refused(case: str) -> None:
    """Neither when they are attached nor in a worker."""
    app = existing_app()
    app.conf.update(ALLOWED[case])
    attached(app)
    if "accept_content" not in ALLOWED[case]:  # Celery itself cannot make a worker that accepts anything
        make_worker(app)


def test_looking_does_not_configure_an_app() -> None:
    """What is set on an app between attaching and naming its settings stays, as if nobody had looked."""
    app = existing_app()
    attached(app)
    app.conf.task_default_queue = "mine"
    app.config_from_object({"task_default_priority": 3})
    assert (app.conf.task_default_queue, app.conf.task_default_priority) == ("mine", 3)


@pytest.mark.filterwarnings("ignore")  # Celery from 5.7 on warns of the doubled name itself
@pytest.mark.parametrize("is_finalised", [True, False])
def test_a_task_of_the_apps_own_with_a_steps_name_is_refused(is_finalised: bool) -> None:
    """Celery would keep the first and call it with saga ids."""
    app = existing_app()
    app.task(name="asked.look", shared=False)(own)
    if is_finalised:
        app.finalize()
        with pytest.raises(UsageError, match=r"a task called asked\.look already"):
            attached(app)
        return
    attached(app)
    with pytest.raises(UsageError, match=r"a task called asked\.look already"):
        make_worker(app)


def test_the_same_saga_is_attached_once() -> None:
    """The tasks stay those of the first, so the second driver would never get a message."""
    app = existing_app()
    attached(app)
    attached(app)
    with pytest.raises(UsageError, match="attach it once"):
        make_worker(app)


OF_EVERY_TASK: dict[str, Any] = {
    "task_acks_late": True,
    "task_default_priority": 5,
    "task_default_rate_limit": "1/h",
    "task_ignore_result": False,
    "task_reject_on_worker_lost": True,
    "task_retry_on_worker_lost": True,
    "task_serializer": "pickle",
    "task_soft_time_limit": 1,
    "task_store_errors_even_if_ignored": True,
    "task_time_limit": 1,
    "task_track_started": True,
}
ATTRIBUTES: dict[str, Any] = {
    "acks_late": True,
    "ignore_result": False,
    "max_retries": 3,
    "priority": 5,
    "rate_limit": "1/h",
    "reject_on_worker_lost": True,
    "retry_on_worker_lost": True,
    "serializer": "pickle",
    "soft_time_limit": 1,
    "store_errors_even_if_ignored": True,
    "time_limit": 1,
    "track_started": True,
}


@pytest.mark.parametrize(
    "settings",
    [
        OF_EVERY_TASK,
        *({"task_annotations": {which: ATTRIBUTES}} for which in ("*", "asked.look")),
    ],
    ids=["settings", "annotations of all", "annotations of one"],
)
def test_what_an_app_says_of_its_tasks_is_not_said_of_ours(settings: dict[str, Any]) -> None:
    """Time limits, rate limits, late acknowledgement and the like: our messages are hints, and our attempts have a time of
    their own. The app's own task is what its settings say."""
    app = existing_app()
    app.conf.update(settings)
    app.task(name="own", shared=False)(own)
    attached(app)
    app.finalize()
    ours = app.tasks["asked.look"]
    assert set(ATTRIBUTES) == {*PINNED, "time_limit"}
    assert {name: getattr(ours, name) for name in PINNED} == PINNED
    if "asked.look" not in settings.get("task_annotations", {}):
        assert app.tasks["own"].acks_late is True


@pytest.mark.parametrize(("given", "kept"), [(None, None), (1, 43), (300, 300)])
@pytest.mark.parametrize("place", ["settings", "annotations", "command line"])
def test_a_hard_time_limit_ends_no_attempt_that_would_have_an_outcome(
    place: str, given: float | None, kept: float | None
) -> None:
    """It is what ends a child whose step never returns, so it stays, at 30 s beyond the step's own time-out or later."""
    app = existing_app()
    if place == "settings":
        app.conf.task_time_limit = given
    elif given and place == "annotations":
        app.conf.task_annotations = {"*": {"time_limit": given}}
    attached(app)
    app.finalize()
    task: Any = app.tasks["asked.hold"]
    of_worker = None if place == "annotations" else given  # a worker takes over what the settings say
    consumer = SimpleNamespace(controller=SimpleNamespace(time_limit=of_worker))
    task.attachment.driver = "process"  # so that nothing more is asked of the consumer
    for _ in range(2):  # again after each loss of the broker
        task.start_strategy(app, consumer)
        assert task.time_limit == kept


def test_an_annotation_that_harms_nothing_stays() -> None:
    """A hook of the app's own is called for our tasks as well."""
    app = existing_app()
    app.conf.task_annotations = {"*": {"on_failure": print}}
    attached(app)
    app.finalize()
    assert app.tasks["asked.look"].on_failure is print


def test_no_step_runs_in_its_caller() -> None:
    """Eager mode, which tests of an app may have on, is refused at the call and nowhere else."""
    app = existing_app()
    app.conf.task_always_eager = True
    attached(app)
    make_worker(app)
    with pytest.raises(UsageError, match=r"asked\.look: task_always_eager"):
        app.tasks["asked.look"].delay(["0192"])


def test_the_app_that_we_make_has_no_such_setting() -> None:
    """`saga worker` passes its own checks."""
    app = make_app("memory://", sagas())
    attach(app, sagas(), store_url="memory://", driver="process")
    make_worker(app)
