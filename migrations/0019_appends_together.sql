-- Many small appends at a time, each at less cost: ARCHITECTURE.md, "Together".

-- Postgres reads a constraint anew in every statement that may concern it, as it does a trigger's condition (0021). Nobody but
-- slipway.append and an import writes an event, and neither could write one that these would refuse.
ALTER TABLE slipway.event DROP CONSTRAINT event_version_check, DROP CONSTRAINT event_type_check,
                          DROP CONSTRAINT event_schema_version_check;

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

-- For appends that began before this migration, which admit by the trigger; those that began since have done so by then.
CREATE OR REPLACE FUNCTION slipway.admit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM slipway.cluster c WHERE c.id = NEW.stream_id AND c.admitted_at = NEW.recorded_at) THEN
        PERFORM slipway.admit(NEW.stream_id, NEW.recorded_at);
    END IF;
    RETURN NULL;
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

-- What was decided on streams whose locks the caller has, each of another one, in one statement: events, head, read model, and work if
-- p_wake. Of the i-th stream the events are those up to p_upto[i], from where those of the one before end. Rows of the queue are locked
-- in the order of the streams. Errors: SW409 a stream is not at p_expected, 40001 its last append is of a younger transaction.
CREATE FUNCTION slipway.record(
    p_streams text[], p_expected bigint[],
    p_actors text[], p_correlations uuid[], p_causations uuid[],
    p_upto integer[], p_ids uuid[], p_types text[], p_schema smallint, p_data jsonb[],
    p_states jsonb[], p_statuses text[], p_owners text[], p_live boolean[], p_workers integer[], -- the clusters afterwards
    p_wake boolean[], p_at timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_done integer[];
    v_long boolean;
    v_head slipway.stream;
    v_n    integer;
BEGIN
    WITH RECURSIVE head AS MATERIALIZED (
        SELECT a.n::integer AS n, a.id, a.expected, a.upto, coalesce(p_upto[a.n - 1], 0) + 1 AS first,
               coalesce(s.last_hash, '') AS hash, i.epoch, pg_current_xact_id() AS tx
          FROM slipway.installation i
         CROSS JOIN unnest(p_streams, p_expected, p_upto) WITH ORDINALITY a (id, expected, upto, n)
          LEFT JOIN slipway.stream s ON s.stream_id = a.id
          LEFT JOIN slipway.cluster c ON c.id = a.id
         WHERE coalesce(s.version, 0) = a.expected AND coalesce(s.last_tx <= pg_current_xact_id(), true)
           AND (a.expected = 0 OR c.id IS NOT NULL)
    ), chain AS (
        SELECT h.n, h.first AS i, h.expected + 1 AS version,
               slipway.event_hash(h.hash, h.id, h.expected + 1, p_ids[h.first], p_types[h.first], p_schema, p_data[h.first],
                                  p_actors[h.n], p_correlations[h.n], p_causations[h.n], p_at) AS hash,
               p_types[h.first : h.first] AS types
          FROM head h WHERE h.first <= h.upto
         UNION ALL
        SELECT c.n, c.i + 1, c.version + 1,
               slipway.event_hash(c.hash, h.id, c.version + 1, p_ids[c.i + 1], p_types[c.i + 1], p_schema, p_data[c.i + 1],
                                  p_actors[c.n], p_correlations[c.n], p_causations[c.n], p_at),
               p_types[h.first : c.i + 1]
          FROM chain c JOIN head h ON h.n = c.n WHERE c.i < h.upto
    ), written AS (
        INSERT INTO slipway.event AS e (epoch, tx, stream_id, version, event_id, type, schema_version, data, actor,
                                        correlation_id, causation_id, recorded_at, hash)
        SELECT h.epoch, h.tx, h.id, c.version, p_ids[c.i], p_types[c.i], p_schema, p_data[c.i], p_actors[c.n],
               p_correlations[c.n], p_causations[c.n], p_at, c.hash
          FROM chain c JOIN head h ON h.n = c.n ORDER BY c.n, c.i -- positions are given out in this order
        RETURNING e.stream_id, e.version, e.pos
    ), last AS MATERIALIZED (
        SELECT h.*, c.version, c.hash AS last_hash, c.types FROM chain c JOIN head h ON h.n = c.n AND h.upto = c.i ORDER BY h.n
    ), moved AS (
        INSERT INTO slipway.stream (stream_id, version, last_tx, last_hash, first_pos)
        SELECT l.id, l.version, l.tx, l.last_hash,
               CASE l.expected WHEN 0 THEN (SELECT w.pos FROM written w WHERE w.stream_id = l.id AND w.version = 1) ELSE 0 END
          FROM last l
        ON CONFLICT (stream_id) DO UPDATE SET
            version = EXCLUDED.version, last_tx = EXCLUDED.last_tx, last_hash = EXCLUDED.last_hash
    ), model AS (
        INSERT INTO slipway.cluster AS c
            (id, version, owner, status, live, workers_wanted, state,
             launched_at, claimed_at, ready_at, routed_at, ended_at, gone_at)
        SELECT l.id, l.version, p_owners[l.n], p_statuses[l.n], p_live[l.n], p_workers[l.n], p_states[l.n],
               p_at, CASE WHEN 'Claimed' = ANY (l.types) THEN p_at END,
               CASE WHEN 'BecameReady' = ANY (l.types) THEN p_at END, CASE WHEN 'BecameReady' = ANY (l.types) THEN p_at END,
               CASE WHEN l.types && '{LaunchFailed,StopRequested}' THEN p_at END,
               CASE WHEN 'Removed' = ANY (l.types) THEN p_at END
          FROM last l
        ON CONFLICT (id) DO UPDATE SET
            version = EXCLUDED.version, owner = EXCLUDED.owner, status = EXCLUDED.status, live = EXCLUDED.live,
            workers_wanted = EXCLUDED.workers_wanted, state = EXCLUDED.state,
            claimed_at = coalesce(EXCLUDED.claimed_at, c.claimed_at), ready_at = coalesce(c.ready_at, EXCLUDED.ready_at),
            routed_at = coalesce(EXCLUDED.routed_at, c.routed_at), ended_at = coalesce(c.ended_at, EXCLUDED.ended_at),
            gone_at = coalesce(c.gone_at, EXCLUDED.gone_at)
    ), woken AS (
        INSERT INTO slipway.work AS w (stream_id, wanted_version)
        SELECT l.id, l.version FROM last l WHERE p_wake[l.n]
        ON CONFLICT (stream_id) DO UPDATE SET
            wanted_version = EXCLUDED.wanted_version, parked_at = NULL, attempt = 0,
            -- A leased row is seen to as soon as its holder finishes; until then due_at is its lease. What nobody had asked for comes
            -- after all that somebody has: workers look no further back (slipway.take).
            due_at = CASE WHEN w.lease_owner IS NOT NULL OR w.asked AND w.due_at <= p_at THEN w.due_at ELSE p_at END
    )
    SELECT array_agg(l.n), bool_or(l.version / 200 > l.expected / 200) INTO v_done, v_long FROM last l;

    IF cardinality(v_done) IS DISTINCT FROM cardinality(p_streams) THEN
        SELECT min(n) INTO v_n FROM generate_subscripts(p_streams, 1) n WHERE n = ANY (v_done) IS NOT TRUE;
        SELECT * INTO v_head FROM slipway.stream s WHERE s.stream_id = p_streams[v_n];
        IF coalesce(v_head.version, 0) <> p_expected[v_n] THEN
            RAISE EXCEPTION 'stream % is not at version %', p_streams[v_n], p_expected[v_n] USING ERRCODE = 'SW409';
        ELSIF v_head.last_tx > pg_current_xact_id() THEN
            RAISE EXCEPTION 'this transaction is older than the last append' USING ERRCODE = '40001';
        END IF;
        RAISE EXCEPTION 'the read model of % is missing: run slipway replay', p_streams[v_n];
    END IF;

    -- Each time that a stream has grown by 200 events. A build that does not say how it folds gets none.
    IF v_long THEN
        PERFORM slipway.keep_snapshot(a.id, p_ids[a.upto])
           FROM unnest(p_streams, p_expected, p_upto, p_states) WITH ORDINALITY a (id, expected, upto, state, n)
          WHERE (a.expected + a.upto - coalesce(p_upto[a.n - 1], 0)) / 200 > a.expected / 200 AND a.state ? 'fold';
    END IF;
END $$;

-- What a stream is at now, so that nobody has to read it from its beginning.
CREATE FUNCTION slipway.keep_snapshot(p_stream text, p_last_event uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO slipway.snapshot AS n (stream_id, version, pos, hash, fold, state, launched_at, admitted_at, claimed_at,
                                       changed_at, correlation_id, last_event_id)
    SELECT s.stream_id, s.version, e.pos, s.last_hash, (c.state ->> 'fold')::smallint, c.state, c.launched_at, c.admitted_at,
           c.claimed_at, e.recorded_at, slipway.owner_correlation(s.stream_id), p_last_event
      FROM slipway.stream s JOIN slipway.cluster c ON c.id = s.stream_id
      JOIN slipway.event e ON e.stream_id = s.stream_id AND e.version = s.version AND e.pos >= s.first_pos
     WHERE s.stream_id = p_stream
    ON CONFLICT (stream_id) DO UPDATE SET
        version = EXCLUDED.version, pos = EXCLUDED.pos, hash = EXCLUDED.hash, fold = EXCLUDED.fold, state = EXCLUDED.state,
        launched_at = EXCLUDED.launched_at, admitted_at = EXCLUDED.admitted_at, claimed_at = EXCLUDED.claimed_at,
        changed_at = EXCLUDED.changed_at, correlation_id = EXCLUDED.correlation_id, last_event_id = EXCLUDED.last_event_id;
END $$;

-- As before (0017), but planned once a session: with each partition planning takes longer, and a function in SQL is planned at each call.
CREATE OR REPLACE FUNCTION slipway.owner_correlation(p_stream text) RETURNS uuid LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((SELECT e.correlation_id FROM slipway.event e
                      WHERE e.stream_id = p_stream AND e.type = 'Claimed'
                        AND e.version > coalesce((SELECT n.version FROM slipway.snapshot n WHERE n.stream_id = p_stream), 0)
                        AND e.pos >= coalesce((SELECT n.pos FROM slipway.snapshot n WHERE n.stream_id = p_stream), 0)),
                    (SELECT n.correlation_id FROM slipway.snapshot n WHERE n.stream_id = p_stream),
                    (SELECT a.correlation_id FROM slipway.archived_stream a WHERE a.stream_id = p_stream
                      ORDER BY a.version DESC LIMIT 1),
                    (SELECT e.correlation_id FROM slipway.event e WHERE e.stream_id = p_stream AND e.version = 1));
END $$;

-- As before (0017), but it admits, charges and writes by the functions above.
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
    v_print   bytea;
    v_admits  constant boolean := 'Admitted' = ANY (p_types);
    v_charges constant boolean := p_more_clusters <> 0 OR p_more_workers <> 0 OR 'Claimed' = ANY (p_types);
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

    -- An import holds this table, and is waited for before anything else is held.
    SELECT clock_timestamp() INTO recorded_at FROM slipway.installation;
    -- Whoever is late is told so by slipway.record, and not that there is no place. Everyone's row comes before the queue's: who waits
    -- for it must hold none of those.
    IF (v_admits OR v_charges)
       AND p_expected = coalesce((SELECT s.version FROM slipway.stream s WHERE s.stream_id = p_stream), 0) THEN
        IF v_admits THEN
            PERFORM slipway.admit(p_stream, recorded_at);
        END IF;
        IF v_charges THEN
            PERFORM slipway.charge(p_owner, 'Claimed' = ANY (p_types), p_workers, p_more_clusters, p_most_clusters,
                                   p_more_workers, p_most_workers);
        END IF;
    END IF;

    PERFORM slipway.record(
        ARRAY[p_stream], ARRAY[p_expected], ARRAY[p_actor], ARRAY[p_correlation], ARRAY[p_causation],
        ARRAY[cardinality(p_types)], p_ids, p_types, p_schema, p_data,
        ARRAY[p_state], ARRAY[p_status], ARRAY[p_owner], ARRAY[p_live], ARRAY[p_workers], ARRAY[p_wake], recorded_at);
    version := p_expected + cardinality(p_types);
END $$;

-- Several, each of another stream, in one transaction: all or none. All locks come first, so no transaction id is older than what it
-- waited for; and it waits for none of them, as it would hold up whoever wants the others. For appends that touch no row but their
-- own stream's: none that admits or charges. Error: 55P03 somebody is at one of the streams.
CREATE FUNCTION slipway.append_together(
    p_streams text[], p_expected bigint[],
    p_actors text[], p_correlations uuid[], p_causations uuid[],
    p_upto integer[], p_ids uuid[], p_types text[], p_schema smallint, p_data jsonb[],
    p_states jsonb[], p_statuses text[], p_owners text[], p_live boolean[], p_workers integer[], p_wake boolean[]
) RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_at timestamptz;
BEGIN
    IF NOT (SELECT bool_and(pg_try_advisory_xact_lock(hashtextextended(s, 0))) FROM unnest(p_streams) s) THEN
        RAISE EXCEPTION 'somebody is at one of the streams' USING ERRCODE = 'lock_not_available';
    END IF;
    v_at := clock_timestamp();
    PERFORM slipway.record(p_streams, p_expected, p_actors, p_correlations, p_causations, p_upto, p_ids, p_types, p_schema, p_data,
                           p_states, p_statuses, p_owners, p_live, p_workers, p_wake, v_at);
    RETURN v_at;
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
        GRANT EXECUTE ON FUNCTION slipway.append, slipway.append_together, slipway.see, slipway.post_routes, slipway.settle_epoch, slipway.claim, slipway.take,
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
