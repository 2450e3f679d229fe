"""A worker row as columns and back, alike on PostgreSQL and SQLite.

Rules of this file: whose sagas a worker runs stands in `environment` and `tenants`. NULL in `environment` means any, and NULL in
`tenants` means every tenant. A row of an older release has NULL in both, so it counts as a worker that runs every saga.
"""

import json
from datetime import datetime

from sqlalchemy import Connection, select

from saga.scope import Scope
from saga.store.port import WorkerRow
from saga.store.tables import Tables


def worker_values(worker: WorkerRow) -> tuple[str | int | None, ...]:
    """The columns that are alike on both databases: id, host, pid, queues, environment, tenants."""
    scope = worker.scope
    tenants = None if scope.tenants is None else json.dumps(scope.tenants)
    return worker.worker_id, worker.host, worker.pid, json.dumps(worker.queues), scope.environment, tenants


def open_workers(connection: Connection, tables: Tables, scope: Scope) -> list[tuple[WorkerRow, datetime]]:
    """Open rows of the workers that may run a saga of `scope`, with the end of their lease, the oldest first."""
    of = tables.worker.c
    columns = (of.worker_id, of.host, of.pid, of.queues, of.lease_ttl_s, of.environment, of.tenants, of.lease_until)
    query = select(*columns).where(of.closed_at.is_(None)).order_by(of.started_at, of.worker_id)
    found = []
    for worker_id, host, pid, queues, lease_ttl_s, environment, tenants, lease_until in connection.execute(query):
        own = Scope(environment, None if tenants is None else tuple(json.loads(tenants)))
        found.append((WorkerRow(worker_id, host, pid, tuple(json.loads(queues)), lease_ttl_s, own), lease_until))
    return [(worker, lease_until) for worker, lease_until in found if scope.meets(worker.scope)]
