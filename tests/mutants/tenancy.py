"""Mutants of what keeps environments and tenants apart: the scope of a store, and the binding of a database."""

from tests.mutants.mutant import Mutant

PG_SQL, SQLITE_SQL, MEMORY = "saga/store/postgres_sql.py", "saga/store/sqlite_sql.py", "saga/store/memory.py"
QUERIES, BINDING, EMBEDDED = "saga/store/queries.py", "saga/store/binding.py", "saga/surfaces/embedded.py"

SCOPE = "tests/conformance/test_scope.py::"
SWEPT = f"{SCOPE}test_a_sweep_leaves_what_is_not_its_own_as_it_is"
THERE = f"{SCOPE}test_a_saga_of_somebody_else_is_not_there"
COUNTED = f"{SCOPE}test_sagas_of_somebody_else_are_not_counted"
MY_WORKERS, LEASE = f"{SCOPE}test_a_worker_of_others_is_not_among_mine", "tests/unit/runtime/test_lease.py::"
BOUND = "tests/migrations/test_binding.py::"
APART = "tests/integration/runtime/test_apart.py::"
CLI = "tests/unit/surfaces/test_cli_tenants.py::"

TENANCY = [
    Mutant(
        "a-sweep-takes-its-own-on-postgres",
        PG_SQL,
        "        AND {OWNED}\n        AND NOT (saga_id",
        "        AND ({OWNED} OR true)\n        AND NOT (saga_id",
        "a worker of staging runs an order of the shop against its own participants",
        (f"{SWEPT}[postgres]",),
    ),
    Mutant(
        "a-sweep-takes-its-own-on-sqlite",
        SQLITE_SQL,
        "AND {OWNED} AND saga_id NOT IN",
        "AND ({OWNED} OR 1) AND saga_id NOT IN",
        "a worker of staging runs an order of the shop against its own participants",
        (f"{COUNTED}[sqlite-sweep]",),
    ),
    Mutant(
        "a-sweep-takes-its-own-in-memory",
        MEMORY,
        "waiting = [(stored.row.due_at, stored) for stored in self._own()]",
        "waiting = [(stored.row.due_at, stored) for stored in self._sagas.values()]",
        "a worker of staging runs an order of the shop against its own participants",
        (f"{SWEPT}[memory]",),
    ),
    Mutant(
        "a-journal-of-others-is-not-loaded-on-postgres",
        PG_SQL,
        "WHERE s.saga_id IS NULL OR ({OWNED}) ORDER",
        "WHERE s.saga_id IS NULL OR true OR ({OWNED}) ORDER",
        "a hint on a queue that two environments share makes the wrong worker run the order",
        (f"{THERE}[postgres-load]",),
    ),
    Mutant(
        "a-journal-of-others-is-not-loaded-on-sqlite",
        SQLITE_SQL,
        "WHERE s.saga_id = a.value AND NOT ({OWNED}))",
        "WHERE s.saga_id = a.value AND NOT ({OWNED} OR 1))",
        "a hint on a queue that two environments share makes the wrong worker run the order",
        (f"{APART}test_a_worker_runs_its_own_alone",),
    ),
    Mutant(
        "a-journal-of-others-is-not-loaded-in-memory",
        MEMORY,
        "found = [(saga_id, it) for saga_id in saga_ids if (it := self._find(saga_id)) is not None]",
        "found = [(saga_id, it) for saga_id in saga_ids if (it := self._sagas.get(saga_id)) is not None]",
        "a hint on a queue that two environments share makes the wrong worker run the order",
        (f"{APART}test_nothing_is_told_to_a_saga_of_somebody_else",),
    ),
    Mutant(
        "a-list-is-of-the-own",
        QUERIES,
        "    ).where(*_owned(tables, scope))",
        "    )",
        "saga list shows the orders of every tenant, and saga cancel means the other one's",
        (f"{CLI}test_another_tenants_saga_is_not_found[saga-cancel]", f"{CLI}test_the_status_is_of_the_own_tenant"),
    ),
    Mutant(
        "rows-are-of-the-own",
        "saga/store/filtering.py",
        "return replace(wanted, one_of={**wanted.one_of, **held})",
        "return wanted",
        "the list of orders is that of every tenant",
        ("tests/conformance/test_scope.py::test_a_filter_cannot_ask_beyond_the_scope[sqlite]",),
    ),
    Mutant(
        "a-list-is-walked-in-its-order",
        QUERIES,
        'literal_column(f"+saga.{name}", Text).in_(of)',
        "tables.saga.c[name].in_(of)",
        "SQLite reads and sorts every saga of a tenant for the fifty latest",
        ("tests/conformance/test_live_reads.py::test_sqlite_finds_them_by_an_index",),
    ),
    Mutant(
        "the-due-index-serves-one-tenant",
        PG_SQL,
        'OWNED = """CASE WHEN (%s::text IS NULL OR environment = %s::text) AND (%s::text[] IS NULL OR tenant = ANY(%s::text[]))\n'
        '        THEN true ELSE false END"""',
        'OWNED = """(%s::text IS NULL OR environment = %s::text) AND (%s::text[] IS NULL OR tenant = ANY(%s::text[]))"""',
        "on tables that were never analysed each sweep reads and sorts every saga of the tenant",
        ("tests/conformance/test_postgres_plans.py::test_a_sweep_of_a_backlog_reads_what_it_takes",),
    ),
    Mutant(
        "a-worker-of-others-is-not-mine-on-databases",
        "saga/store/worker_rows.py",
        "for worker, lease_until in found if scope.meets(worker.scope)]",
        "for worker, lease_until in found]",
        "`saga status --check` says OK while only another tenant's worker runs, and the order never moves",
        (f"{MY_WORKERS}[postgres]", f"{MY_WORKERS}[sqlite]"),
    ),
    Mutant(
        "a-worker-of-others-is-not-mine-in-memory",
        MEMORY,
        "if it.is_open and self.scope.meets(it.row.scope)]",
        "if it.is_open]",
        "the simulator shows a worker that would not run the saga",
        (f"{MY_WORKERS}[memory]",),
    ),
    Mutant(
        "a-tenant-without-worker-is-an-alarm",
        "saga/surfaces/alarms.py",
        "    elif now.unserved and bounds.min_workers:",
        "    elif False:",
        "`saga status --check --all-tenants` says OK while the orders of one tenant never move",
        (f"{CLI}test_a_worker_of_another_tenant_is_no_worker",),
    ),
    Mutant(
        "what-is-not-at-hand-is-named",
        "saga/surfaces/status_page.py",
        "    if not now.not_at_hand:",
        "    if True:",
        "`saga worker` is typed as the screen says, runs the product's orders alone, and the saga never moves",
        ("tests/unit/surfaces/test_standing.py::test_a_worker_that_lacks_is_asked_for_by_definition",),
    ),
    Mutant(
        "what-is-no-order-is-called-so",
        "saga/surfaces/taking_back.py",
        "if row is None or (row.environment, row.tenant) != (environment, tenant):",
        "if row is not None or row is None:",
        "`saga return` calls a saga unknown that `saga list` shows",
        (f"{CLI}test_what_is_no_order_is_not_returned",),
    ),
    Mutant(
        "a-lease-says-whose-sagas",
        "saga/runtime/lease.py",
        "self._ttl_s, self._store.scope)",
        "self._ttl_s)",
        "each worker counts as one of every tenant",
        (f"{LEASE}test_a_lease_says_whose_sagas_its_worker_runs",),
    ),
    Mutant(
        "another-environment-is-refused",
        "saga/store/opening.py",
        "    if bound != scope.environment:",
        "    if bound is None:",
        "a process of staging starts on the database of the shop",
        (
            f"{CLI}test_a_process_of_another_environment_is_refused",
            f"{BOUND}test_a_new_database_is_of_the_environment_of_its_upgrade",
        ),
    ),
    Mutant(
        "an-upgrade-binds-to-what-is-there",
        BINDING,
        "        _refuse_held(connection, tables, environment)",
        "        return",
        "the first process that upgrades makes the database of the shop one of staging",
        (f"{BOUND}test_one_that_holds_sagas_is_of_their_environment",),
    ),
    Mutant(
        "what-moves-keeps-its-environment",
        BINDING,
        "        _refuse_moving(connection, tables, bound, environment)",
        "        return",
        "a copy of the shop's database becomes one of staging with orders on their way, which nobody ends",
        (f"{BOUND}test_a_copy_with_orders_on_their_way_stays_what_it_is",),
    ),
    Mutant(
        "nothing-is-started-beyond-the-scope",
        "saga/runtime/starting.py",
        "if not store.scope.has(environment, tenant):",
        "if store.scope is None:",
        "an order is accepted that no worker of this database runs",
        (f"{APART}test_no_saga_is_started_that_the_process_could_not_see",),
    ),
    Mutant(
        "an-attached-worker-has-a-scope",
        "saga/runtime/celery/attaching.py",
        "open_store(self._store_url, self._scope, pool_size",
        "open_store(self._store_url, pool_size",
        "a Celery app of one tenant runs the orders of all",
        ("tests/integration/celery/test_attaching.py::test_an_attached_worker_runs_its_own_tenant_alone",),
    ),
]
