-- The event log: what has happened, in order, for good. ARCHITECTURE.md, "The log", argues each point.

CREATE SCHEMA slipway;

-- The epoch orders events before and after a logical restore, which starts the transaction ids anew.
CREATE TABLE slipway.installation (
    one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
    epoch      smallint    NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO slipway.installation DEFAULT VALUES;

-- The head of each stream: optimistic concurrency, order within the stream, and the end of its hash chain.
CREATE TABLE slipway.stream (
    stream_id text   PRIMARY KEY CHECK (length(stream_id) <= 200),
    version   bigint NOT NULL,
    last_tx   xid8   NOT NULL,
    last_hash bytea  NOT NULL
) WITH (fillfactor = 70); -- no indexed column changes, so that updates stay on their page (HOT)

CREATE TABLE slipway.event (
    epoch          smallint    NOT NULL,
    tx             xid8        NOT NULL,
    pos            bigint      GENERATED ALWAYS AS IDENTITY,
    stream_id      text        NOT NULL,
    version        bigint      NOT NULL CHECK (version > 0),
    event_id       uuid        NOT NULL,
    type           text        NOT NULL CHECK (length(type) <= 100),
    schema_version smallint    NOT NULL CHECK (schema_version > 0),
    data           jsonb       NOT NULL,
    actor          text        NOT NULL, -- an opaque subject, never personal data
    correlation_id uuid        NOT NULL,
    causation_id   uuid,
    recorded_at    timestamptz NOT NULL,
    hash           bytea       NOT NULL,
    PRIMARY KEY (stream_id, version)
);
CREATE UNIQUE INDEX event_order ON slipway.event (epoch, tx, pos);

CREATE FUNCTION slipway.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'slipway.% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = '55000';
END $$;
CREATE TRIGGER event_is_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON slipway.event
    FOR EACH STATEMENT EXECUTE FUNCTION slipway.refuse_change();
-- ALWAYS: session_replication_role = replica does not get past it.
ALTER TABLE slipway.event ENABLE ALWAYS TRIGGER event_is_immutable;

-- Chains an event to the one before it in its stream. A line each keeps the fields apart: none but the data
-- could hold a line break, and jsonb writes those in its strings as escapes.
CREATE FUNCTION slipway.event_hash(
    p_before bytea, p_stream text, p_version bigint, p_id uuid, p_type text, p_schema smallint, p_data jsonb,
    p_actor text, p_correlation uuid, p_causation uuid, p_recorded_at timestamptz
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(p_before || convert_to(concat_ws(E'\n',
        p_stream, p_version, p_id, p_type, p_schema, p_actor, p_correlation, coalesce(p_causation::text, '-'),
        (extract(epoch FROM p_recorded_at) * 1000000)::bigint, p_data), 'UTF8'))
$$;

-- Called once at start: a database restored from a dump has transaction ids below those of its log.
CREATE FUNCTION slipway.settle_epoch() RETURNS smallint LANGUAGE plpgsql AS $$
DECLARE
    v_epoch smallint;
BEGIN
    SELECT epoch INTO v_epoch FROM slipway.installation FOR UPDATE;
    IF EXISTS (SELECT FROM slipway.event WHERE epoch = v_epoch AND tx > pg_current_xact_id()) THEN
        v_epoch := v_epoch + 1;
        UPDATE slipway.installation SET epoch = v_epoch;
        UPDATE slipway.stream SET last_tx = '0' WHERE last_tx > pg_current_xact_id();
    END IF;
    RETURN v_epoch;
END $$;
