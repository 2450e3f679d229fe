CREATE TABLE barrier (
    id BIGSERIAL NOT NULL,
    key VARCHAR(255) NOT NULL,
    kind VARCHAR(6) NOT NULL,
    operation TEXT NOT NULL,
    undoes VARCHAR(255),
    order_id TEXT,
    request_hash TEXT NOT NULL,
    outcome VARCHAR(9) NOT NULL,
    status SMALLINT NOT NULL,
    body TEXT NOT NULL,
    undone_by VARCHAR(255),
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT uq_barrier_key_kind UNIQUE (key, kind)
);

CREATE INDEX ix_barrier_at ON barrier (at);

CREATE TABLE ledger (
    id BIGSERIAL NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    operation TEXT NOT NULL,
    key TEXT NOT NULL,
    order_id TEXT NOT NULL,
    shipment_id VARCHAR(260) NOT NULL,
    movement VARCHAR(10) NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE shipment (
    shipment_id VARCHAR(260) NOT NULL,
    order_id VARCHAR(64) NOT NULL,
    carrier VARCHAR(128) NOT NULL,
    country_code VARCHAR(2) NOT NULL,
    item_count BIGINT NOT NULL,
    state VARCHAR(10) NOT NULL,
    PRIMARY KEY (shipment_id),
    CONSTRAINT shipment_state CHECK (state IN ('bought', 'voided', 'dispatched'))
);
