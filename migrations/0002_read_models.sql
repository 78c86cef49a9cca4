-- What the log adds up to now. Written in the transaction of the event; `slipway replay` rebuilds it.

CREATE TABLE slipway.cluster (
    id             text        PRIMARY KEY,
    version        bigint      NOT NULL,
    owner          text        NOT NULL,
    status         text        NOT NULL CHECK (status IN ('launching', 'running', 'failed', 'stopping', 'stopped')),
    live           boolean     NOT NULL, -- counts against limits
    workers_wanted integer     NOT NULL CHECK (workers_wanted >= 0),
    state          jsonb       NOT NULL, -- domain::Cluster
    launched_at    timestamptz NOT NULL,
    ready_at       timestamptz,          -- first
    routed_at      timestamptz,          -- last
    ended_at       timestamptz,          -- failed, or asked to stop
    gone_at        timestamptz
) WITH (fillfactor = 70);
CREATE INDEX cluster_by_owner ON slipway.cluster (owner, launched_at);
CREATE INDEX cluster_present ON slipway.cluster (id) WHERE gone_at IS NULL;

-- How much each owner has of what is limited; the row of owner '*' counts everyone.
CREATE TABLE slipway.usage (
    owner    text    PRIMARY KEY,
    clusters integer NOT NULL,
    workers  integer NOT NULL
) WITH (fillfactor = 50);

-- Answers to requests that carried an Idempotency-Key.
CREATE TABLE slipway.request (
    actor       text        NOT NULL,
    key         text        NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    fingerprint bytea       NOT NULL, -- of the request: the same key with another one is refused
    stream_id   text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (actor, key)
);
CREATE INDEX request_age ON slipway.request (created_at);

-- Last use of each route: a measurement, not a fact, so it is in no event.
CREATE TABLE slipway.activity (
    path          text        PRIMARY KEY,
    stream_id     text        NOT NULL,
    last_activity timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX activity_by_stream ON slipway.activity (stream_id);

CREATE TABLE slipway.api_token (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    subject    text        NOT NULL,
    admin      boolean     NOT NULL,
    hash       bytea       NOT NULL UNIQUE, -- sha256 of the token; the token itself is nowhere
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
