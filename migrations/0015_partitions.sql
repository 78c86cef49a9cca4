-- The log in partitions by position, of which old ones can be archived, and snapshots of long streams: ARCHITECTURE.md, "The log in
-- partitions" and "Snapshots", argue each point.

-- In the order in which an append takes them, so that neither waits for the other in vain.
LOCK TABLE slipway.installation, slipway.stream, slipway.event IN ACCESS EXCLUSIVE MODE;

ALTER TABLE slipway.installation ADD COLUMN events_per_partition bigint NOT NULL DEFAULT 1000000
    CHECK (events_per_partition > 0);
-- Nothing of a stream is before it, so that who reads a stream leaves older partitions alone. 0: not known, as long as appends
-- are those of before 0017, which take no snapshots either.
ALTER TABLE slipway.stream ADD COLUMN first_pos bigint NOT NULL DEFAULT 0;

-- Each partition there ever was, attached or archived: those archived are the oldest.
CREATE TABLE slipway.partition (
    first       bigint      PRIMARY KEY,  -- the positions that it is for
    until       bigint      NOT NULL CHECK (until > first), -- not in it any more
    full_epoch  smallint,                 -- all of them were given out before this transaction
    full_tx     xid8,
    upto_epoch  smallint,                 -- sealed: nothing in it or in those before it comes later in the log's order,
    upto_tx     xid8,                     -- and nothing will be added
    archived_at timestamptz,
    file        text,                     -- what it is called
    events      bigint,
    digest      bytea,                    -- SHA-256 over the hashes of its events in the log's order
    upto_pos    bigint,                   -- the position, with the two above, that no archived event is after
    newest_at   timestamptz               -- when the last event in it or those before it was recorded
);
COMMENT ON TABLE slipway.partition IS 'The partitions of the log, those in the archive included';

-- What has to be known of a stream whose beginning was archived with a partition: where its chain goes on, when what had
-- happened, and unless it ended there, what it had come to.
CREATE TABLE slipway.archived_stream (
    partition      bigint      NOT NULL REFERENCES slipway.partition,
    stream_id      text        NOT NULL,
    version        bigint      NOT NULL, -- of its last event in there
    hash           bytea       NOT NULL,
    fold           smallint,             -- domain::fold::FOLD
    state          jsonb,                -- domain::Cluster
    launched_at    timestamptz NOT NULL,
    admitted_at    timestamptz,
    ready_at       timestamptz,
    routed_at      timestamptz,
    ended_at       timestamptz,
    gone_at        timestamptz,
    changed_at     timestamptz NOT NULL,
    correlation_id uuid        NOT NULL, -- of its first event
    last_event_id  uuid        NOT NULL,
    PRIMARY KEY (stream_id, partition)
);
CREATE INDEX archived_stream_by_partition ON slipway.archived_stream (partition);

-- What a long stream had come to: reading begins there. Nothing is lost with it.
CREATE TABLE slipway.snapshot (
    stream_id      text        PRIMARY KEY,
    version        bigint      NOT NULL,
    pos            bigint      NOT NULL,
    hash           bytea       NOT NULL,
    fold           smallint    NOT NULL, -- domain::fold::FOLD: another build's is of no use
    state          jsonb       NOT NULL, -- domain::Cluster
    launched_at    timestamptz NOT NULL,
    admitted_at    timestamptz,
    changed_at     timestamptz NOT NULL,
    correlation_id uuid        NOT NULL, -- of the first event
    last_event_id  uuid        NOT NULL
) WITH (fillfactor = 50);

-- What there was becomes the first partition, with its rows, its indexes and its trigger.
DO $$
DECLARE
    v_last  constant bigint := coalesce(pg_sequence_last_value(pg_get_serial_sequence('slipway.event', 'pos')), 0);
    v_until constant bigint := (SELECT substring(pg_get_constraintdef(oid) FROM 'pos < (?:''?)([0-9]+)')::bigint FROM pg_constraint
                                 WHERE conrelid = 'slipway.event'::regclass AND conname = 'event_partition');
    v_view  record;
    v_views text[] := '{}';
BEGIN
    FOR v_view IN SELECT c.relname, pg_get_viewdef(c.oid) AS body FROM pg_class c
                   WHERE c.relnamespace = 'slipway'::regnamespace AND c.relkind = 'v' ORDER BY c.oid LOOP
        v_views := v_views || format('CREATE OR REPLACE VIEW slipway.%I AS %s', v_view.relname, v_view.body);
    END LOOP;
    ALTER TABLE slipway.event ALTER COLUMN pos DROP IDENTITY;
    EXECUTE format('CREATE SEQUENCE slipway.event_pos START %s', v_last + 1);
    DROP TRIGGER event_admits ON slipway.event;
    ALTER TABLE slipway.event RENAME TO event_1;
    ALTER INDEX slipway.event_order RENAME TO event_1_order;
    ALTER INDEX slipway.event_pkey RENAME TO event_1_pkey;

    CREATE TABLE slipway.event (LIKE slipway.event_1 EXCLUDING ALL) PARTITION BY RANGE (pos);
    ALTER TABLE slipway.event ALTER COLUMN pos SET DEFAULT nextval('slipway.event_pos');
    ALTER SEQUENCE slipway.event_pos OWNED BY slipway.event.pos;
    ALTER TABLE slipway.event
        ADD CONSTRAINT event_version_check CHECK (version > 0),
        ADD CONSTRAINT event_type_check CHECK (length(type) <= 100),
        ADD CONSTRAINT event_schema_version_check CHECK (schema_version > 0);
    CREATE UNIQUE INDEX event_order ON slipway.event (epoch, tx, pos);
    CREATE TRIGGER event_is_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON slipway.event
        FOR EACH STATEMENT EXECUTE FUNCTION slipway.refuse_change();
    ALTER TABLE slipway.event ENABLE ALWAYS TRIGGER event_is_immutable;
    CREATE TRIGGER event_admits AFTER INSERT ON slipway.event
        FOR EACH ROW WHEN (NEW.type = 'Admitted') EXECUTE FUNCTION slipway.admit();
    EXECUTE format('ALTER TABLE slipway.event ATTACH PARTITION slipway.event_1 FOR VALUES FROM (MINVALUE) TO (%s)', v_until);
    ALTER TABLE slipway.event_1 DROP CONSTRAINT event_partition;
    INSERT INTO slipway.partition (first, until) VALUES (1, v_until);
    FOR v_at IN 1 .. cardinality(v_views) LOOP
        EXECUTE v_views[v_at];
    END LOOP;
END $$;

-- A table that can become a partition: refusing change like the log, and quick to find a stream in, whose versions are its key.
CREATE FUNCTION slipway.new_event_table(p_schema text, p_name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE slipway.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', p_schema, p_name);
    EXECUTE format('ALTER TABLE %1$I.%2$I ADD CONSTRAINT %3$I PRIMARY KEY (stream_id, version)',
                   p_schema, p_name, p_name || '_pkey');
    EXECUTE format('CREATE UNIQUE INDEX %3$I ON %1$I.%2$I (epoch, tx, pos)', p_schema, p_name, p_name || '_order');
    EXECUTE format('CREATE TRIGGER event_is_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON %1$I.%2$I
                        FOR EACH STATEMENT EXECUTE FUNCTION slipway.refuse_change()', p_schema, p_name);
    EXECUTE format('ALTER TABLE %1$I.%2$I ENABLE ALWAYS TRIGGER event_is_immutable', p_schema, p_name);
END $$;

-- Makes partitions until there is room for so many events, and for as many as one holds: well ahead of need, by whoever starts or
-- keeps. It holds nobody up: ATTACH lets reads and appends go on. Seals those that are full. How many it has made.
CREATE FUNCTION slipway.extend_log(p_room bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Before this transaction has an id: whoever was given a position by then has an older one.
    v_fresh constant boolean := pg_current_xact_id_if_assigned() IS NULL;
    v_last  constant bigint := coalesce(pg_sequence_last_value('slipway.event_pos'::regclass), 0);
    v_epoch smallint;
    v_size  bigint;
    v_until bigint;
    v_made  integer := 0;
BEGIN
    SELECT i.epoch, i.events_per_partition INTO v_epoch, v_size FROM slipway.installation i;
    IF v_fresh AND EXISTS (SELECT FROM slipway.partition p WHERE p.until <= v_last + 1 AND p.upto_tx IS NULL) THEN
        PERFORM slipway.seal_log(v_epoch, v_last);
    END IF;
    SELECT max(p.until) INTO v_until FROM slipway.partition p;
    IF v_until - 1 - v_last > greatest(p_room, v_size) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('slipway.partition', 0));
    SELECT max(p.until) INTO v_until FROM slipway.partition p;
    WHILE v_until - 1 - v_last <= greatest(p_room, v_size) LOOP
        PERFORM slipway.new_event_table('slipway', 'event_' || v_until);
        EXECUTE format('ALTER TABLE slipway.event ATTACH PARTITION slipway.%I FOR VALUES FROM (%s) TO (%s)',
                       'event_' || v_until, v_until, v_until + v_size);
        INSERT INTO slipway.partition (first, until) VALUES (v_until, v_until + v_size);
        v_until := v_until + v_size;
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END $$;

-- A partition is full once its last position was given out, and sealed once every transaction that may have one of them has
-- ended. In their order, so that each is sealed after all before it.
CREATE FUNCTION slipway.seal_log(p_epoch smallint, p_last bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_next record;
    v_end  record;
BEGIN
    UPDATE slipway.partition p SET full_epoch = p_epoch, full_tx = pg_current_xact_id()
     WHERE p.until <= p_last + 1 AND p.full_tx IS NULL;
    FOR v_next IN SELECT p.* FROM slipway.partition p WHERE p.upto_tx IS NULL ORDER BY p.first FOR UPDATE SKIP LOCKED LOOP
        -- The transactions of an earlier epoch ended with their server.
        EXIT WHEN v_next.full_tx IS NULL
               OR v_next.full_epoch = p_epoch AND v_next.full_tx >= pg_snapshot_xmin(pg_current_snapshot())
               OR EXISTS (SELECT FROM slipway.partition p WHERE p.first < v_next.first AND p.upto_tx IS NULL);
        SELECT e.epoch, e.tx INTO v_end FROM slipway.event e
         WHERE e.pos >= v_next.first AND e.pos < v_next.until ORDER BY e.epoch DESC, e.tx DESC, e.pos DESC LIMIT 1;
        SELECT u.epoch, u.tx INTO v_end
          FROM (VALUES (v_end.epoch, v_end.tx), (0::smallint, '0'::xid8)
                UNION ALL SELECT p.upto_epoch, p.upto_tx FROM slipway.partition p WHERE p.first < v_next.first) u (epoch, tx)
         WHERE u.epoch IS NOT NULL ORDER BY u.epoch DESC, u.tx DESC LIMIT 1;
        UPDATE slipway.partition p SET upto_epoch = v_end.epoch, upto_tx = v_end.tx WHERE p.first = v_next.first;
    END LOOP;
END $$;

-- Where a reader who stands at this place in the log has to look: all before it is in partitions before that. Error: SW410 some of
-- what comes after it is in the archive, and is not to be passed over.
CREATE FUNCTION slipway.log_from(p_epoch smallint, p_tx xid8, p_pos bigint, p_pass_over boolean) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_from bigint;
    v_gone boolean;
BEGIN
    SELECT max(p.until) FILTER (WHERE (p.upto_epoch, p.upto_tx) < (p_epoch, p_tx)),
           bool_or(p.archived_at IS NOT NULL AND (p.upto_epoch, p.upto_tx, p.upto_pos) > (p_epoch, p_tx, p_pos))
      INTO v_from, v_gone FROM slipway.partition p;
    IF v_gone AND NOT p_pass_over THEN
        RAISE EXCEPTION 'archived' USING ERRCODE = 'SW410';
    END IF;
    RETURN coalesce(v_from, 0);
END $$;

CREATE OR REPLACE FUNCTION slipway.settle_epoch() RETURNS smallint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_epoch smallint;
BEGIN
    SELECT epoch INTO v_epoch FROM slipway.installation FOR UPDATE;
    IF EXISTS (SELECT FROM slipway.event WHERE epoch = v_epoch AND tx > pg_current_xact_id())
       -- All that is newest may be in the archive.
       OR EXISTS (SELECT FROM slipway.partition WHERE upto_epoch = v_epoch AND upto_tx > pg_current_xact_id()) THEN
        v_epoch := v_epoch + 1;
        UPDATE slipway.installation SET epoch = v_epoch;
        UPDATE slipway.stream SET last_tx = '0' WHERE last_tx > pg_current_xact_id();
    END IF;
    RETURN v_epoch;
END $$;

SELECT slipway.grant_roles();
SELECT slipway.extend_log(0);
