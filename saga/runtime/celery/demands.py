"""What sagas ask of the settings of an app that they are attached to.

Rules of this file
------------------
- Refused is what would keep every message of ours from being taken, and says nothing while it does: sagas then move only
  when the rescuer finds them due. What our tasks and messages can settle for themselves is settled there (`node_task`,
  `publisher`, `receiving`) and not asked for.
- Looked at twice: when sagas are attached, and when a worker of the app is made, because Celery reads its settings late. An
  app that has not been configured is not configured by our look: what is set on it before that would be lost.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery
from celery.app.defaults import DEFAULTS

from saga.core.definition import Saga
from saga.errors import UsageError
from saga.runtime.celery.apps import queue_of_task, queues_of
from saga.runtime.celery.node_task import NodeTask

OWN_APP = "give the sagas an app of their own: saga.runtime.celery.make_app(broker_url, sagas)"


def check_settings(app: Celery, sagas: Iterable[Saga[Any]]) -> None:
    """Raises `UsageError` that names the setting and says what to write."""
    settings, sagas = settings_of(app), list(sagas)
    accepted = settings["accept_content"]
    if accepted is not None and not {"json", "application/json"}.intersection(accepted):
        raise UsageError(
            f"accept_content={accepted!r}: workers of this app refuse JSON, and every message of a saga is JSON; "
            f"add 'json' to accept_content, or {OWN_APP}"
        )
    if not settings["task_create_missing_queues"] and (missing := queues_of(sagas) - _declared(settings)):
        raise UsageError(
            "task_create_missing_queues=False: no worker of this app can consume the queues of its sagas; "
            f"add to task_queues: {', '.join(sorted(missing))}"
        )


def check_names(app: Celery, sagas: Iterable[Saga[Any]], attachment: object) -> None:
    """Raises `UsageError` for a task of the app's own that has the name of a node: Celery keeps the first and says nothing, and
    would call it with saga ids. Needs an app that was finalised."""
    for name in queue_of_task(sagas):
        task = app.tasks[name]
        if not isinstance(task, NodeTask):
            raise UsageError(f"the app has a task called {name} already, which is a step's name; rename one of them")
        if task.attachment is not attachment:
            raise UsageError(f"{name}: its saga was attached to this app before; attach it once")


def settings_of(app: Celery) -> Mapping[str, Any]:
    """The settings as far as they are known now."""
    parts = vars(app)  # Celery has no public way to ask whether settings were named and not read yet
    if parts["configured"] or parts["_config_source"]:
        conf: Mapping[str, Any] = app.conf
        return conf
    return {**DEFAULTS, **parts["_preconf"]}


def _declared(settings: Mapping[str, Any]) -> set[str]:
    queues = settings["task_queues"]
    if not queues:
        return {settings["task_default_queue"]}
    return set(queues) if isinstance(queues, Mapping) else {queue.name for queue in queues}
