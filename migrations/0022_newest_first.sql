-- While somebody keeps an old snapshot open, every version that a row has had since then stays, and whoever looks for the row by its key
-- goes over all of them, from the oldest to the newest; so does every update that has no room on its page, for the sake of a key that is
-- unique. So the newest must be found first.

-- A row of work has a new version three times a job, none of which stays on its page, as what says when it is due is indexed. Its key will
-- have the token (0023), so that only the versions of one lease have the same. That there is one row for each cluster is then seen to by
-- slipway.enqueue, the only one who makes any: it has the stream's lock.

-- Makes the row of work that a cluster is without, as it has just begun or its queue was lost. The stream's lock must be held before the
-- statement that calls this, so that it sees what was made meanwhile.
CREATE FUNCTION slipway.enqueue(p_stream text, p_version bigint, p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO slipway.work (stream_id, wanted_version, due_at)
    SELECT p_stream, p_version, p_at WHERE NOT EXISTS (SELECT FROM slipway.work w WHERE w.stream_id = p_stream);
END $$;

-- The same for up to so many of all clusters that are neither gone nor in line (whom their admission queues), due within that time. Returns
-- how many.
CREATE FUNCTION slipway.enqueue_missing(p_within interval, p_limit bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_id   text;
    v_made bigint := 0;
BEGIN
    FOR v_id IN SELECT c.id FROM slipway.cluster c
                 WHERE c.gone_at IS NULL AND NOT slipway.in_line(c.state)
                   AND NOT EXISTS (SELECT FROM slipway.work w WHERE w.stream_id = c.id) ORDER BY c.id LIMIT p_limit LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(v_id, 0));
        PERFORM slipway.enqueue(c.id, c.version, clock_timestamp() + random() * p_within) FROM slipway.cluster c WHERE c.id = v_id;
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END $$;

-- Heads and read models have a unique key that never changes. Backwards the newest version comes first, as it has the last place in the
-- table; a key that is a range of one makes Postgres go backwards; and the row is then named by its place (ctid) instead of looked for
-- once more.

-- As before (0019).
CREATE OR REPLACE FUNCTION slipway.record(
    p_streams text[], p_expected bigint[],
    p_actors text[], p_correlations uuid[], p_causations uuid[],
    p_upto integer[], p_ids uuid[], p_types text[], p_schema smallint, p_data jsonb[],
    p_states jsonb[], p_statuses text[], p_owners text[], p_live boolean[], p_workers integer[], -- the clusters afterwards
    p_wake boolean[], p_at timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_done  integer[];
    v_woken integer[];
    v_wake  bigint;
    v_rows  bigint;
    v_long  boolean;
    v_head  slipway.stream;
    v_n     integer;
BEGIN
    WITH RECURSIVE head AS MATERIALIZED (
        SELECT a.n::integer AS n, a.id, a.expected, a.upto, coalesce(p_upto[a.n - 1], 0) + 1 AS first,
               coalesce(s.last_hash, '') AS hash, i.epoch, pg_current_xact_id() AS tx,
               s.ctid AS stream_at, c.ctid AS cluster_at, w.lease_token
          FROM slipway.installation i
         CROSS JOIN unnest(p_streams, p_expected, p_upto) WITH ORDINALITY a (id, expected, upto, n)
          LEFT JOIN LATERAL (SELECT s.ctid, s.version, s.last_tx, s.last_hash FROM slipway.stream s
                              WHERE s.stream_id >= a.id AND s.stream_id <= a.id ORDER BY s.stream_id DESC LIMIT 1) s ON true
          LEFT JOIN LATERAL (SELECT c.ctid FROM slipway.cluster c
                              WHERE c.id >= a.id AND c.id <= a.id ORDER BY c.id DESC LIMIT 1) c ON true
          LEFT JOIN LATERAL (SELECT w.lease_token FROM slipway.work w
                              WHERE p_wake[a.n] AND w.stream_id = a.id ORDER BY w.lease_token DESC LIMIT 1) w ON true
         WHERE coalesce(s.version, 0) = a.expected AND coalesce(s.last_tx <= pg_current_xact_id(), true)
           AND (a.expected = 0 OR c.ctid IS NOT NULL)
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
        SELECT h.*, c.version, c.hash AS last_hash, c.types,
               CASE WHEN 'Claimed' = ANY (c.types) THEN p_at END AS claimed_at,
               CASE WHEN 'BecameReady' = ANY (c.types) THEN p_at END AS ready_at,
               CASE WHEN c.types && '{LaunchFailed,StopRequested}' THEN p_at END AS ended_at,
               CASE WHEN 'Removed' = ANY (c.types) THEN p_at END AS gone_at
          FROM chain c JOIN head h ON h.n = c.n AND h.upto = c.i ORDER BY h.n
    ), moved AS (
        UPDATE slipway.stream s SET version = l.version, last_tx = l.tx, last_hash = l.last_hash
          FROM last l WHERE s.ctid = l.stream_at
        RETURNING 1
    ), begun AS (
        INSERT INTO slipway.stream (stream_id, version, last_tx, last_hash, first_pos)
        SELECT l.id, l.version, l.tx, l.last_hash, w.pos
          FROM last l JOIN written w ON w.stream_id = l.id AND w.version = 1 WHERE l.stream_at IS NULL
        RETURNING 1
    ), model AS (
        UPDATE slipway.cluster c SET
            version = l.version, owner = p_owners[l.n], status = p_statuses[l.n], live = p_live[l.n],
            workers_wanted = p_workers[l.n], state = p_states[l.n],
            claimed_at = coalesce(l.claimed_at, c.claimed_at), ready_at = coalesce(c.ready_at, l.ready_at),
            routed_at = coalesce(l.ready_at, c.routed_at), ended_at = coalesce(c.ended_at, l.ended_at),
            gone_at = coalesce(c.gone_at, l.gone_at)
          FROM last l WHERE c.ctid = l.cluster_at
        RETURNING 1
    ), modelled AS (
        INSERT INTO slipway.cluster (id, version, owner, status, live, workers_wanted, state,
                                     launched_at, claimed_at, ready_at, routed_at, ended_at, gone_at)
        SELECT l.id, l.version, p_owners[l.n], p_statuses[l.n], p_live[l.n], p_workers[l.n], p_states[l.n],
               p_at, l.claimed_at, l.ready_at, l.ready_at, l.ended_at, l.gone_at
          FROM last l WHERE l.cluster_at IS NULL
        RETURNING 1
    ), woken AS (
        UPDATE slipway.work w SET
            wanted_version = l.version, parked_at = NULL, attempt = 0,
            -- A leased row is seen to as soon as its holder finishes; until then due_at is its lease. What nobody had asked for comes
            -- after all that somebody has: workers look no further back (slipway.take).
            due_at = CASE WHEN w.lease_owner IS NOT NULL OR w.asked AND w.due_at <= p_at THEN w.due_at ELSE p_at END
          FROM last l WHERE w.stream_id = l.id AND w.lease_token = l.lease_token
        RETURNING l.n
    )
    SELECT array_agg(l.n), bool_or(l.version / 200 > l.expected / 200),
           (SELECT count(*) FROM moved) + (SELECT count(*) FROM begun) + (SELECT count(*) FROM model) + (SELECT count(*) FROM modelled),
           ARRAY(SELECT w.n FROM woken w), count(*) FILTER (WHERE p_wake[l.n])
      INTO v_done, v_long, v_rows, v_woken, v_wake FROM last l;

    IF cardinality(v_done) IS DISTINCT FROM cardinality(p_streams) THEN
        SELECT min(n) INTO v_n FROM generate_subscripts(p_streams, 1) n WHERE n = ANY (v_done) IS NOT TRUE;
        SELECT * INTO v_head FROM slipway.stream s WHERE s.stream_id = p_streams[v_n];
        IF coalesce(v_head.version, 0) <> p_expected[v_n] THEN
            RAISE EXCEPTION 'stream % is not at version %', p_streams[v_n], p_expected[v_n] USING ERRCODE = 'SW409';
        ELSIF v_head.last_tx > pg_current_xact_id() THEN
            RAISE EXCEPTION 'this transaction is older than the last append' USING ERRCODE = '40001';
        END IF;
        RAISE EXCEPTION 'the read model of % is missing: run slipway replay', p_streams[v_n];
    ELSIF v_rows <> 2 * cardinality(p_streams) THEN
        -- Such as a replay, which holds no lock of the stream's.
        RAISE EXCEPTION 'somebody has changed a read model meanwhile' USING ERRCODE = '40001';
    END IF;

    -- A new stream's, and those that somebody has taken since this statement's snapshot. Several that wait for each other's rows here would do
    -- so in no order: each is then done alone.
    IF cardinality(v_woken) < v_wake THEN
        FOR v_n IN SELECT n FROM generate_subscripts(p_streams, 1) n WHERE p_wake[n] AND n <> ALL (v_woken) ORDER BY n LOOP
            IF NOT EXISTS (SELECT FROM slipway.work w WHERE w.stream_id = p_streams[v_n]) THEN
                PERFORM slipway.enqueue(p_streams[v_n], p_expected[v_n] + p_upto[v_n] - coalesce(p_upto[v_n - 1], 0), p_at);
            ELSIF cardinality(p_streams) > 1 THEN
                RAISE EXCEPTION 'somebody has taken work meanwhile' USING ERRCODE = '40001';
            ELSE
                UPDATE slipway.work w SET
                    wanted_version = p_expected[v_n] + p_upto[v_n] - coalesce(p_upto[v_n - 1], 0), parked_at = NULL, attempt = 0,
                    due_at = CASE WHEN w.lease_owner IS NOT NULL OR w.asked AND w.due_at <= p_at THEN w.due_at ELSE p_at END
                 WHERE w.stream_id = p_streams[v_n];
            END IF;
        END LOOP;
    END IF;

    -- Each time that a stream has grown by 200 events. A build that does not say how it folds gets none.
    IF v_long THEN
        PERFORM slipway.keep_snapshot(a.id, p_ids[a.upto])
           FROM unnest(p_streams, p_expected, p_upto, p_states) WITH ORDINALITY a (id, expected, upto, state, n)
          WHERE (a.expected + a.upto - coalesce(p_upto[a.n - 1], 0)) / 200 > a.expected / 200 AND a.state ? 'fold';
    END IF;
END $$;

-- As before (0018), but it names what it has locked by the whole key.
CREATE OR REPLACE FUNCTION slipway.take(
    p_owner text, p_limit integer, p_lease interval,
    p_asked_from timestamptz, p_unasked_from timestamptz -- NULL: from the beginning
) RETURNS TABLE (stream_id text, lease_token bigint, wanted_version bigint, attempt integer,
                 asked_from timestamptz, unasked_from timestamptz, next_due interval) -- the last of them only if there is no lease
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now     constant timestamptz := statement_timestamp();
    v_asked   constant timestamptz := coalesce(p_asked_from, '-infinity');
    v_unasked constant timestamptz := coalesce(p_unasked_from, '-infinity');
BEGIN
    RETURN QUERY
    WITH long_due AS MATERIALIZED (
        SELECT d.stream_id, d.lease_token FROM slipway.work d
         WHERE NOT d.asked AND d.due_at >= v_unasked AND d.due_at <= v_now - interval '1 minute'
         ORDER BY d.due_at LIMIT floor(p_limit / 4.0 + random())::integer FOR UPDATE SKIP LOCKED
    ), asked AS MATERIALIZED (
        SELECT d.stream_id, d.lease_token, d.due_at FROM slipway.work d
         WHERE d.asked AND d.due_at >= v_asked AND d.due_at <= v_now
         ORDER BY d.due_at LIMIT p_limit - (SELECT count(*) FROM long_due) FOR UPDATE SKIP LOCKED
    ), unasked AS MATERIALIZED (
        SELECT d.stream_id, d.lease_token FROM slipway.work d
         WHERE NOT d.asked AND d.due_at >= v_unasked AND d.due_at <= v_now
           AND d.stream_id <> ALL (ARRAY(SELECT l.stream_id FROM long_due l))
         ORDER BY d.due_at LIMIT p_limit - (SELECT count(*) FROM long_due) - (SELECT count(*) FROM asked)
           FOR UPDATE SKIP LOCKED
    ), found AS MATERIALIZED (
        SELECT (SELECT count(*) FROM long_due) AS long_due, (SELECT count(*) FROM asked) AS asked,
               (SELECT count(*) FROM unasked) AS unasked, (SELECT max(a.due_at) FROM asked a) AS asked_upto
    ), taken AS (
        UPDATE slipway.work w
           SET attempt = w.attempt + 1, lease_token = w.lease_token + 1, lease_owner = p_owner, nudged = false,
               due_at = clock_timestamp() + p_lease
          FROM (SELECT l.stream_id, l.lease_token FROM long_due l UNION ALL SELECT a.stream_id, a.lease_token FROM asked a
                UNION ALL SELECT u.stream_id, u.lease_token FROM unasked u) d
         WHERE w.stream_id = d.stream_id AND w.lease_token = d.lease_token
        RETURNING w.stream_id, w.lease_token, w.wanted_version, w.attempt
    )
    SELECT t.*,
           CASE WHEN f.long_due + f.asked < p_limit THEN v_now - interval '250 ms'
                ELSE coalesce(f.asked_upto - interval '250 ms', p_asked_from) END,
           CASE WHEN f.long_due + f.asked + f.unasked < p_limit THEN v_now - interval '250 ms' ELSE p_unasked_from END,
           CASE WHEN f.long_due + f.asked + f.unasked = 0 THEN
               least((SELECT min(n.due_at) FROM slipway.work n WHERE n.asked AND n.due_at > v_now),
                     (SELECT min(n.due_at) FROM slipway.work n WHERE NOT n.asked AND n.due_at > v_now)) - v_now END
      FROM found f LEFT JOIN taken t ON true;
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
        GRANT EXECUTE ON FUNCTION slipway.append, slipway.append_together, slipway.see, slipway.post_routes, slipway.settle_epoch, slipway.claim, slipway.take, slipway.enqueue, slipway.enqueue_missing,
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
