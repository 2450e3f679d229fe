"""The first tables: saga, journal, request, worker, definition, effect, and the view `transition` for people.

Frozen here: environment, tenant, entity and run of a saga; actor, reason, `min_reader_version` and `prev_hash` of every
journal row; effect rows; priority in the due index; the schema of its own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Instant = sa.DateTime | sa.BigInteger
STATUSES = "'running', 'compensating', 'completed', 'compensated', 'halted'"
HALT_REASONS = (
    "'participant_down', 'compensation_retrying', 'defect', 'unresolved_effect', 'pivot_unresolved', 'poison', "
    "'retriable_rejected'"
)
TRANSITIONS_POSTGRESQL = """
CREATE VIEW saga.transition AS
SELECT j.saga_id, j.seq, t.ordinal, t.body ->> 't' AS kind, j.at, j.writer, j.actor, j.reason, t.body
FROM saga.journal j CROSS JOIN LATERAL json_array_elements(j.body::json) WITH ORDINALITY AS t(body, ordinal)
"""
TRANSITIONS_SQLITE = """
CREATE VIEW transition AS
SELECT j.saga_id, j.seq, t.key + 1 AS ordinal, json_extract(t.value, '$.t') AS kind,
       strftime('%Y-%m-%dT%H:%M:%fZ', j.at / 1000000.0, 'unixepoch') AS at, j.writer, j.actor, j.reason, t.value AS body
FROM journal j, json_each(j.body) AS t
"""


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "saga" if on_postgresql else None
    words: sa.Text = sa.Text(collation="C") if on_postgresql else sa.Text()
    instant: Instant = sa.DateTime(timezone=True) if on_postgresql else sa.BigInteger()
    _create_saga(schema, words, instant)
    _create_journal(schema, words, instant, "octet_length" if on_postgresql else "length")
    _create_request(schema, words, instant)
    _create_worker(schema, words, instant)
    _create_definition(schema, words, instant)
    _create_effect(schema, words, instant)
    op.execute(TRANSITIONS_POSTGRESQL if on_postgresql else TRANSITIONS_SQLITE)
    if on_postgresql:
        # Rows that change in place leave room on their page for the next version (heap-only updates).
        op.execute("ALTER TABLE saga.saga SET (fillfactor = 80)")
        op.execute("ALTER TABLE saga.worker SET (fillfactor = 50)")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore the backup taken before the upgrade")


def _create_saga(schema: str | None, words: sa.Text, instant: Instant) -> None:
    op.create_table(
        "saga",
        sa.Column("saga_id", words, nullable=False),
        sa.Column("environment", words, nullable=False),
        sa.Column("tenant", words, nullable=False),
        sa.Column("definition", words, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("entity", words, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("halt_reason", sa.Text),
        sa.Column("due_at", instant),
        sa.Column("due_pushes", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("accepted_at", instant, nullable=False),
        sa.Column("ended_at", instant),
        sa.PrimaryKeyConstraint("saga_id", name="saga_pkey"),
        sa.UniqueConstraint("environment", "tenant", "definition", "entity", "run", name="saga_entity_run"),
        sa.CheckConstraint(f"status IN ({STATUSES})", name="saga_status_known"),
        sa.CheckConstraint(f"halt_reason IN ({HALT_REASONS})", name="saga_halt_reason_known"),
        sa.CheckConstraint("run >= 1", name="saga_run_positive"),
        schema=schema,
    )
    live, waits = sa.text("status <> 'compensated'"), sa.text("due_at IS NOT NULL")
    owner = ["environment", "tenant", "definition", "entity"]
    op.create_index(
        "saga_one_live", "saga", owner, unique=True, schema=schema, postgresql_where=live, sqlite_where=live
    )
    op.create_index(
        "saga_due", "saga", [sa.text("priority DESC"), "due_at"], schema=schema,
        postgresql_where=waits, sqlite_where=waits,
    )  # fmt: skip
    op.create_index("saga_list", "saga", ["accepted_at", "saga_id"], schema=schema)


def _create_journal(schema: str | None, words: sa.Text, instant: Instant, hash_length: str) -> None:
    op.create_table(
        "journal",
        sa.Column("saga_id", words, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("writer", words, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.LargeBinary, nullable=False),
        sa.Column("min_reader_version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("saga_id", "seq", name="journal_pkey"),
        sa.CheckConstraint("seq >= 1", name="journal_seq_positive"),
        sa.CheckConstraint(f"{hash_length}(prev_hash) = 32", name="journal_prev_hash_sha256"),
        sa.CheckConstraint("min_reader_version >= 1", name="journal_reader_positive"),
        schema=schema,
    )


def _create_request(schema: str | None, words: sa.Text, instant: Instant) -> None:
    op.create_table(
        "request",
        sa.Column("environment", words, nullable=False),
        sa.Column("tenant", words, nullable=False),
        sa.Column("request_key", words, nullable=False),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("saga_id", words, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("environment", "tenant", "request_key", name="request_pkey"),
        schema=schema,
    )


def _create_worker(schema: str | None, words: sa.Text, instant: Instant) -> None:
    op.create_table(
        "worker",
        sa.Column("worker_id", words, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("queues", sa.Text, nullable=False),
        sa.Column("lock_key", sa.BigInteger),
        sa.Column("started_at", instant, nullable=False),
        sa.Column("lease_ttl_s", sa.Float, nullable=False),
        sa.Column("lease_until", instant, nullable=False),
        sa.Column("closed_at", instant),
        sa.PrimaryKeyConstraint("worker_id", name="worker_pkey"),
        sa.CheckConstraint("lease_ttl_s > 0", name="worker_lease_positive"),
        schema=schema,
    )


def _create_definition(schema: str | None, words: sa.Text, instant: Instant) -> None:
    op.create_table(
        "definition",
        sa.Column("name", words, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("registered_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="definition_pkey"),
        schema=schema,
    )


def _create_effect(schema: str | None, words: sa.Text, instant: Instant) -> None:
    op.create_table(
        "effect",
        sa.Column("saga_id", words, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("ordinal", sa.SmallInteger, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("sign", sa.SmallInteger, nullable=False),
        sa.Column("expires_at", instant),
        sa.PrimaryKeyConstraint("saga_id", "seq", "ordinal", name="effect_pkey"),
        sa.CheckConstraint("sign IN (-1, 1)", name="effect_sign_known"),
        schema=schema,
    )
