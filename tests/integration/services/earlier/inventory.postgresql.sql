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
    sku VARCHAR(64) NOT NULL,
    bucket_from VARCHAR(9) NOT NULL,
    bucket_to VARCHAR(9) NOT NULL,
    quantity BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE provision (
    key VARCHAR(255) NOT NULL,
    sku VARCHAR(64) NOT NULL,
    quantity BIGINT NOT NULL,
    PRIMARY KEY (key)
);

CREATE TABLE reservation (
    reservation_id VARCHAR(260) NOT NULL,
    order_id VARCHAR(64) NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state VARCHAR(9) NOT NULL,
    PRIMARY KEY (reservation_id)
);

CREATE INDEX reservation_held ON reservation (expires_at) WHERE state = 'held';

CREATE TABLE reservation_line (
    reservation_id VARCHAR(260) NOT NULL,
    sku VARCHAR(64) NOT NULL,
    quantity BIGINT NOT NULL,
    PRIMARY KEY (reservation_id, sku),
    CONSTRAINT reservation_line_positive CHECK (quantity > 0)
);

CREATE TABLE stock (
    sku VARCHAR(64) NOT NULL,
    initial BIGINT NOT NULL,
    available BIGINT NOT NULL,
    reserved BIGINT NOT NULL,
    shipped BIGINT NOT NULL,
    PRIMARY KEY (sku),
    CONSTRAINT stock_not_negative CHECK (available >= 0 AND reserved >= 0 AND shipped >= 0),
    CONSTRAINT stock_adds_up CHECK (initial = available + reserved + shipped)
);
