"""Celery's part: names, routing, hints and worker processes; the only package that imports Celery or kombu.

A message is a hint. It names a node by its task and up to 32 sagas by id, and all it can do is to have somebody look
into their journals: lost, doubled, late or forged it changes speed and nothing else. So messages are acknowledged when
they arrive, nothing is kept in a result backend, and Celery's own repeats, timers and canvas are not used.

The parts: `apps` (an app with settings that suit hints), `publisher` (hints out), `attaching` (sagas as tasks of an app),
`attempts` (Celery's signals and events around each attempt), `running` (worker processes and threads).
"""

from saga.runtime.celery.apps import make_app
from saga.runtime.celery.attaching import Attachment, attach
from saga.runtime.celery.attempts import AttemptFailed
from saga.runtime.celery.publisher import Publisher
from saga.runtime.celery.running import ThreadWorker, run_worker, worker_in_thread

__all__ = [
    "Attachment",
    "AttemptFailed",
    "Publisher",
    "ThreadWorker",
    "attach",
    "make_app",
    "run_worker",
    "worker_in_thread",
]
