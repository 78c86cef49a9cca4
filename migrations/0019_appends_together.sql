-- Many small appends at a time, each at less cost: ARCHITECTURE.md, "Together".

-- Postgres reads a constraint and a trigger's condition anew in every statement that may concern them: a fifth of an append. Nobody but
-- slipway.append and an import writes an event, and neither could write one that these would refuse.
ALTER TABLE slipway.event DROP CONSTRAINT event_version_check, DROP CONSTRAINT event_type_check,
                          DROP CONSTRAINT event_schema_version_check;
DROP TRIGGER event_admits ON slipway.event;
DROP FUNCTION slipway.admit();

-- Called in the append of an admission, before it counts among those under way, so that no number of workers gets past the limits
-- together: the row lock is held to the commit, and whoever comes next counts what was admitted before. Error: SW429 admission.
CREATE FUNCTION slipway.admit(p_stream text, p_recorded_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_bucket slipway.admission;
    v_at     timestamptz;
    v_room   integer;
BEGIN
    SELECT * INTO v_bucket FROM slipway.admission FOR UPDATE;
    v_at := clock_timestamp();
    SELECT CASE WHEN c.owner LIKE 'pool:%' THEN slipway.pool_room(v_at) ELSE slipway.admission_room(v_at) END INTO v_room
      FROM slipway.cluster c WHERE c.id = p_stream;
    IF v_room < 1 THEN
        RAISE EXCEPTION 'admission' USING ERRCODE = 'SW429';
    END IF;
    UPDATE slipway.admission SET tokens = slipway.admission_tokens(v_bucket, v_at) - 1, filled_at = v_at
     WHERE v_bucket.per_second > 0;
    UPDATE slipway.cluster SET admitted_at = p_recorded_at WHERE id = p_stream;
END $$;

-- Called in an append that changes what the owner or all together have. Always the owner's row, then everyone's: one order of locks,
-- no deadlock. A pool has no row, which all who claim at once would wait for; and everyone's changes by a claim only if that
-- scales. Error: SW429 what there would be too much of.
CREATE FUNCTION slipway.charge(
    p_owner text, p_claimed boolean, p_workers integer, -- whoever claims a cluster is charged for all of it
    p_more_clusters integer, p_most_clusters integer,
    p_more_workers integer, p_most_workers integer
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_clusters constant integer := CASE WHEN p_claimed THEN 1 ELSE p_more_clusters END;
    v_workers  constant integer := CASE WHEN p_claimed THEN p_workers ELSE p_more_workers END;
    v_usage    integer;
BEGIN
    IF (v_clusters <> 0 OR v_workers <> 0) AND p_owner NOT LIKE 'pool:%' THEN
        INSERT INTO slipway.usage AS u VALUES (p_owner, v_clusters, v_workers)
        ON CONFLICT (owner) DO UPDATE SET clusters = u.clusters + v_clusters, workers = u.workers + v_workers
        RETURNING u.clusters INTO v_usage;
        IF v_clusters > 0 AND v_usage > p_most_clusters THEN
            RAISE EXCEPTION 'clusters_per_owner' USING ERRCODE = 'SW429';
        END IF;
    END IF;
    IF p_more_clusters <> 0 OR p_more_workers <> 0 THEN
        INSERT INTO slipway.usage AS u VALUES ('*', p_more_clusters, p_more_workers)
        ON CONFLICT (owner) DO UPDATE SET clusters = u.clusters + p_more_clusters, workers = u.workers + p_more_workers
        RETURNING u.workers INTO v_usage;
        IF p_more_workers > 0 AND v_usage > p_most_workers THEN
            RAISE EXCEPTION 'total_workers' USING ERRCODE = 'SW429';
        END IF;
    END IF;
END $$;

-- As before (0017), but it admits and charges by the functions above, and what it decides is computed within its statements: each
-- expression of its own is made ready anew in each transaction.
CREATE OR REPLACE FUNCTION slipway.append(
    p_stream text, p_expected bigint,
    p_actor text, p_correlation uuid, p_causation uuid,
    p_ids uuid[], p_types text[], p_schema smallint, p_data jsonb[],
    p_state jsonb, p_status text, p_owner text, p_live boolean, p_workers integer, -- the cluster afterwards
    p_wake boolean,
    p_more_clusters integer, p_most_clusters integer,  -- by so many more, up to so many of this owner
    p_more_workers integer, p_most_workers integer,    -- by so many more, up to so many of everyone
    p_key text, p_fingerprint bytea,
    OUT version bigint, OUT recorded_at timestamptz, OUT answered_by text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_epoch   smallint;
    v_tx      xid8;
    v_last_tx xid8;
    v_hash    bytea;
    v_print   bytea;
    v_pos     bigint;
    v_first   bigint;
BEGIN
    -- Takes no transaction id, so that whoever waits here gets a later one than whom it waited for:
    -- ids then grow along the stream, and the log's order is the stream's.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_stream, 0));

    IF p_key IS NOT NULL THEN
        INSERT INTO slipway.request (actor, key, fingerprint, stream_id)
        VALUES (p_actor, p_key, p_fingerprint, p_stream) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT r.fingerprint, r.stream_id INTO v_print, answered_by
              FROM slipway.request r WHERE r.actor = p_actor AND r.key = p_key;
            IF v_print <> p_fingerprint THEN
                RAISE EXCEPTION 'the idempotency key was used for another request' USING ERRCODE = 'SW422';
            END IF;
            RETURN;
        END IF;
    END IF;

    -- The lock taken above keeps the head as it is until the commit.
    SELECT i.epoch, pg_current_xact_id(), clock_timestamp(), coalesce(s.version, 0), s.last_tx, coalesce(s.last_hash, '')
      INTO v_epoch, v_tx, recorded_at, version, v_last_tx, v_hash
      FROM slipway.installation i LEFT JOIN slipway.stream s ON s.stream_id = p_stream;
    IF version <> p_expected THEN
        RAISE EXCEPTION 'stream % is not at version %', p_stream, p_expected USING ERRCODE = 'SW409';
    END IF;
    IF v_last_tx > v_tx THEN
        RAISE EXCEPTION 'this transaction is older than the last append' USING ERRCODE = '40001';
    END IF;

    IF 'Admitted' = ANY (p_types) THEN
        PERFORM slipway.admit(p_stream, recorded_at);
    END IF;

    FOR i IN 1 .. cardinality(p_types) LOOP
        INSERT INTO slipway.event AS e (epoch, tx, stream_id, version, event_id, type, schema_version, data, actor,
                                        correlation_id, causation_id, recorded_at, hash)
        VALUES (v_epoch, v_tx, p_stream, p_expected + i, p_ids[i], p_types[i], p_schema, p_data[i], p_actor,
                p_correlation, p_causation, append.recorded_at,
                slipway.event_hash(v_hash, p_stream, p_expected + i, p_ids[i], p_types[i], p_schema, p_data[i], p_actor,
                                   p_correlation, p_causation, append.recorded_at))
        RETURNING e.version, e.hash, e.pos, coalesce(v_first, e.pos) INTO version, v_hash, v_pos, v_first;
    END LOOP;

    IF p_expected = 0 THEN
        INSERT INTO slipway.stream (stream_id, version, last_tx, last_hash, first_pos)
        VALUES (p_stream, append.version, v_tx, v_hash, v_first);
        INSERT INTO slipway.cluster
            (id, version, owner, status, live, workers_wanted, state, launched_at, ready_at, routed_at, ended_at, gone_at)
        VALUES (p_stream, append.version, p_owner, p_status, p_live, p_workers, p_state, append.recorded_at,
                CASE WHEN 'BecameReady' = ANY (p_types) THEN append.recorded_at END,
                CASE WHEN 'BecameReady' = ANY (p_types) THEN append.recorded_at END,
                CASE WHEN p_types && '{LaunchFailed,StopRequested}' THEN append.recorded_at END,
                CASE WHEN 'Removed' = ANY (p_types) THEN append.recorded_at END);
    ELSE
        UPDATE slipway.stream s SET version = append.version, last_tx = v_tx, last_hash = v_hash
         WHERE s.stream_id = p_stream;
        UPDATE slipway.cluster c SET
            version = append.version, status = p_status, live = p_live, workers_wanted = p_workers, state = p_state, owner = p_owner,
            claimed_at = CASE WHEN 'Claimed' = ANY (p_types) THEN append.recorded_at ELSE c.claimed_at END,
            ready_at = CASE WHEN 'BecameReady' = ANY (p_types) THEN coalesce(c.ready_at, append.recorded_at) ELSE c.ready_at END,
            routed_at = CASE WHEN 'BecameReady' = ANY (p_types) THEN append.recorded_at ELSE c.routed_at END,
            ended_at = CASE WHEN p_types && '{LaunchFailed,StopRequested}' THEN coalesce(c.ended_at, append.recorded_at)
                            ELSE c.ended_at END,
            gone_at = CASE WHEN 'Removed' = ANY (p_types) THEN coalesce(c.gone_at, append.recorded_at) ELSE c.gone_at END
         WHERE c.id = p_stream;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the read model of % is missing: run slipway replay', p_stream;
        END IF;
    END IF;

    -- Each time that it has grown by 200 events. A build that does not say how it folds gets none.
    IF append.version / 200 > p_expected / 200 AND p_state ? 'fold' THEN
        INSERT INTO slipway.snapshot AS n (stream_id, version, pos, hash, fold, state, launched_at, admitted_at, claimed_at,
                                           changed_at, correlation_id, last_event_id)
        SELECT p_stream, append.version, v_pos, v_hash, (p_state ->> 'fold')::smallint, p_state, c.launched_at, c.admitted_at,
               c.claimed_at, append.recorded_at, slipway.owner_correlation(p_stream), p_ids[cardinality(p_ids)]
          FROM slipway.cluster c WHERE c.id = p_stream
        ON CONFLICT (stream_id) DO UPDATE SET
            version = EXCLUDED.version, pos = EXCLUDED.pos, hash = EXCLUDED.hash, fold = EXCLUDED.fold, state = EXCLUDED.state,
            launched_at = EXCLUDED.launched_at, admitted_at = EXCLUDED.admitted_at, claimed_at = EXCLUDED.claimed_at,
            changed_at = EXCLUDED.changed_at, correlation_id = EXCLUDED.correlation_id, last_event_id = EXCLUDED.last_event_id;
    END IF;

    IF p_more_clusters <> 0 OR p_more_workers <> 0 OR 'Claimed' = ANY (p_types) THEN
        PERFORM slipway.charge(p_owner, 'Claimed' = ANY (p_types), p_workers, p_more_clusters, p_most_clusters,
                               p_more_workers, p_most_workers);
    END IF;

    IF p_wake THEN
        UPDATE slipway.work w SET
            wanted_version = append.version, parked_at = NULL, attempt = 0,
            -- A leased row is seen to as soon as its holder finishes; until then due_at is its lease.
            due_at = CASE WHEN w.lease_owner IS NOT NULL THEN w.due_at
                          WHEN w.due_at <= append.recorded_at THEN w.due_at ELSE append.recorded_at END
         WHERE w.stream_id = p_stream;
        IF NOT FOUND THEN
            INSERT INTO slipway.work (stream_id, wanted_version) VALUES (p_stream, append.version);
        END IF;
    END IF;
END $$;

-- Several, each of another stream, in one transaction: all or none. All locks come first, in one order for everybody, and so no
-- transaction id is older than what it waited for. For appends that touch no row but their own stream's: none that admits or
-- charges. Of the i-th the events are the next p_counts[i].
CREATE FUNCTION slipway.append_together(
    p_streams text[], p_expected bigint[],
    p_actors text[], p_correlations uuid[], p_causations uuid[],
    p_counts integer[], p_ids uuid[], p_types text[], p_schema smallint, p_data jsonb[],
    p_states jsonb[], p_statuses text[], p_owners text[], p_live boolean[], p_workers integer[], p_wake boolean[]
) RETURNS TABLE (version bigint, recorded_at timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    v_from integer := 1;
BEGIN
    PERFORM pg_advisory_xact_lock(l.key)
       FROM (SELECT hashtextextended(s, 0) AS key FROM unnest(p_streams) s ORDER BY 1) l;
    FOR i IN 1 .. cardinality(p_streams) LOOP
        SELECT a.version, a.recorded_at INTO version, recorded_at FROM slipway.append(
            p_streams[i], p_expected[i], p_actors[i], p_correlations[i], p_causations[i],
            p_ids[v_from : v_from + p_counts[i] - 1], p_types[v_from : v_from + p_counts[i] - 1], p_schema,
            p_data[v_from : v_from + p_counts[i] - 1],
            p_states[i], p_statuses[i], p_owners[i], p_live[i], p_workers[i], p_wake[i], 0, 0, 0, 0, NULL, NULL) a;
        v_from := v_from + p_counts[i];
        RETURN NEXT;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION slipway.grant_roles() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA slipway FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_writer') THEN
        GRANT USAGE ON SCHEMA slipway TO slipway_writer;
        GRANT SELECT ON slipway.installation, slipway.stream, slipway.event, slipway.route_event, slipway.erasure,
            slipway.partition, slipway.archived_stream TO slipway_writer;
        GRANT SELECT, INSERT, UPDATE, DELETE
           ON slipway.cluster, slipway.usage, slipway.activity, slipway.leader, slipway.posted_route, slipway.pool TO slipway_writer;
        GRANT SELECT, INSERT, UPDATE ON slipway.work, slipway.api_token TO slipway_writer;
        GRANT SELECT, DELETE ON slipway.request, slipway.snapshot TO slipway_writer;
        GRANT SELECT, UPDATE ON slipway.admission TO slipway_writer;
        GRANT EXECUTE ON FUNCTION slipway.append, slipway.append_together, slipway.see, slipway.post_routes, slipway.settle_epoch, slipway.claim,
            slipway.prune_origins, slipway.in_line, slipway.admission_room, slipway.pool_room, slipway.is_claimable, slipway.admission_tokens, slipway.event_hash,
            slipway.route_event_hash, slipway.extend_log, slipway.log_from TO slipway_writer;
        IF to_regclass('public._sqlx_migrations') IS NOT NULL THEN
            GRANT SELECT ON public._sqlx_migrations TO slipway_writer;
        END IF;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_auditor') THEN
        GRANT USAGE ON SCHEMA slipway TO slipway_auditor;
        GRANT SELECT ON slipway.launches, slipway.trail, slipway.people, slipway.worker_spans, slipway.worker_hours,
            slipway.changes, slipway.failures, slipway.pool, slipway.erasure, slipway.event, slipway.stream, slipway.cluster,
            slipway.installation, slipway.partition, slipway.archived_stream, slipway.snapshot TO slipway_auditor;
        GRANT EXECUTE ON FUNCTION slipway.log_from TO slipway_auditor;
        IF to_regclass('public._sqlx_migrations') IS NOT NULL THEN
            GRANT SELECT ON public._sqlx_migrations TO slipway_auditor;
        END IF;
    END IF;
END $$;
SELECT slipway.grant_roles();
