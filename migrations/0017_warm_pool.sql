-- Clusters that are ready before anybody asks for one, and claimed in the append of a launch: ARCHITECTURE.md, "Warm pool".
-- Whoever a pool launches for is a subject that begins with pool: and that nobody can be.

ALTER TABLE slipway.cluster ADD COLUMN claimed_at timestamptz;
CREATE INDEX cluster_unclaimed ON slipway.cluster (owner) WHERE live AND owner LIKE 'pool:%';

ALTER TABLE slipway.snapshot ADD COLUMN claimed_at timestamptz;
ALTER TABLE slipway.archived_stream ADD COLUMN claimed_at timestamptz;

-- How many each pool is to have ready now. Whoever is on duty for the pools writes it, all others read.
CREATE TABLE slipway.pool (
    profile text        PRIMARY KEY,
    owner   text        NOT NULL CHECK (owner LIKE 'pool:%'), -- of those that it has and nobody has claimed
    wanted  integer     NOT NULL CHECK (wanted >= 0),
    set_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE slipway.pool IS 'How many clusters each profile is to have ready, unclaimed';

-- Whether a launch may have it: as it should be, as far as the last look could tell, and not being looked at.
CREATE FUNCTION slipway.is_claimable(p_cluster slipway.cluster, p_work slipway.work) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT p_cluster.status = 'running' AND NOT p_cluster.state ? 'parked'
       AND (p_cluster.state #>> '{phase,workers_ready}')::integer = p_cluster.workers_wanted
       AND p_work.stream_id IS NOT NULL AND p_work.due_at IS NULL AND p_work.parked_at IS NULL
$$;

-- Of what the owner did, the launch or the claim: since the last snapshot, or before it, or in the archive.
CREATE FUNCTION slipway.owner_correlation(p_stream text) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT e.correlation_id FROM slipway.event e
                      WHERE e.stream_id = p_stream AND e.type = 'Claimed'
                        AND e.version > coalesce((SELECT n.version FROM slipway.snapshot n WHERE n.stream_id = p_stream), 0)
                        AND e.pos >= coalesce((SELECT n.pos FROM slipway.snapshot n WHERE n.stream_id = p_stream), 0)),
                    (SELECT n.correlation_id FROM slipway.snapshot n WHERE n.stream_id = p_stream),
                    (SELECT a.correlation_id FROM slipway.archived_stream a WHERE a.stream_id = p_stream
                      ORDER BY a.version DESC LIMIT 1),
                    (SELECT e.correlation_id FROM slipway.event e WHERE e.stream_id = p_stream AND e.version = 1))
$$;
-- As before, but it says where a stream begins, keeps snapshots of long ones (0015), and knows of claims.
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
    v_tx      xid8;
    v_head    record;
    v_hash    bytea;
    v_now     timestamptz;
    v_print   bytea;
    v_usage   integer;
    v_pos     bigint;
    v_first   bigint;
    v_count   constant integer := cardinality(p_types);
    v_ready   constant boolean := 'BecameReady' = ANY (p_types);
    v_ended   constant boolean := p_types && '{LaunchFailed,StopRequested}';
    v_gone    constant boolean := 'Removed' = ANY (p_types);
    v_claimed constant boolean := 'Claimed' = ANY (p_types);
    -- Of the owner's, where it differs from everyone's: whoever claims a cluster is charged for all of it.
    v_clusters constant integer := CASE WHEN v_claimed THEN 1 ELSE p_more_clusters END;
    v_workers  constant integer := CASE WHEN v_claimed THEN p_workers ELSE p_more_workers END;
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

    v_tx := pg_current_xact_id();
    -- The lock taken above keeps this row as it is until the commit.
    SELECT i.epoch, s.version, s.last_tx, s.last_hash INTO v_head
      FROM slipway.installation i LEFT JOIN slipway.stream s ON s.stream_id = p_stream;
    IF coalesce(v_head.version, 0) <> p_expected THEN
        RAISE EXCEPTION 'stream % is not at version %', p_stream, p_expected USING ERRCODE = 'SW409';
    END IF;
    IF v_head.last_tx > v_tx THEN
        RAISE EXCEPTION 'this transaction is older than the last append' USING ERRCODE = '40001';
    END IF;

    v_now := clock_timestamp();
    v_hash := coalesce(v_head.last_hash, '');
    FOR i IN 1 .. v_count LOOP
        v_hash := slipway.event_hash(v_hash, p_stream, p_expected + i, p_ids[i], p_types[i], p_schema, p_data[i],
                                     p_actor, p_correlation, p_causation, v_now);
        INSERT INTO slipway.event (epoch, tx, stream_id, version, event_id, type, schema_version, data, actor,
                                   correlation_id, causation_id, recorded_at, hash)
        VALUES (v_head.epoch, v_tx, p_stream, p_expected + i, p_ids[i], p_types[i], p_schema, p_data[i], p_actor,
                p_correlation, p_causation, v_now, v_hash) RETURNING pos INTO v_pos;
        v_first := coalesce(v_first, v_pos);
    END LOOP;
    version := p_expected + v_count;
    recorded_at := v_now;

    IF p_expected = 0 THEN
        INSERT INTO slipway.stream (stream_id, version, last_tx, last_hash, first_pos)
        VALUES (p_stream, append.version, v_tx, v_hash, v_first);
        INSERT INTO slipway.cluster
            (id, version, owner, status, live, workers_wanted, state, launched_at, ready_at, routed_at, ended_at, gone_at)
        VALUES (p_stream, append.version, p_owner, p_status, p_live, p_workers, p_state, v_now,
                CASE WHEN v_ready THEN v_now END, CASE WHEN v_ready THEN v_now END,
                CASE WHEN v_ended THEN v_now END, CASE WHEN v_gone THEN v_now END);
    ELSE
        UPDATE slipway.stream s SET version = append.version, last_tx = v_tx, last_hash = v_hash
         WHERE s.stream_id = p_stream;
        UPDATE slipway.cluster c SET
            version = append.version, status = p_status, live = p_live, workers_wanted = p_workers, state = p_state,
            owner = p_owner, claimed_at = CASE WHEN v_claimed THEN v_now ELSE c.claimed_at END,
            ready_at = CASE WHEN v_ready THEN coalesce(c.ready_at, v_now) ELSE c.ready_at END,
            routed_at = CASE WHEN v_ready THEN v_now ELSE c.routed_at END,
            ended_at = CASE WHEN v_ended THEN coalesce(c.ended_at, v_now) ELSE c.ended_at END,
            gone_at = CASE WHEN v_gone THEN coalesce(c.gone_at, v_now) ELSE c.gone_at END
         WHERE c.id = p_stream;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the read model of % is missing: run slipway replay', p_stream;
        END IF;
    END IF;

    -- Each time that it has grown by 200 events. A build that does not say how it folds gets none.
    IF append.version / 200 > p_expected / 200 AND p_state ? 'fold' THEN
        INSERT INTO slipway.snapshot AS n (stream_id, version, pos, hash, fold, state, launched_at, admitted_at, claimed_at,
                                           changed_at, correlation_id, last_event_id)
        SELECT p_stream, append.version, v_pos, v_hash, (p_state ->> 'fold')::smallint, p_state, c.launched_at, c.admitted_at, c.claimed_at,
               v_now, slipway.owner_correlation(p_stream), p_ids[v_count]
          FROM slipway.cluster c WHERE c.id = p_stream
        ON CONFLICT (stream_id) DO UPDATE SET
            version = EXCLUDED.version, pos = EXCLUDED.pos, hash = EXCLUDED.hash, fold = EXCLUDED.fold, state = EXCLUDED.state,
            launched_at = EXCLUDED.launched_at, admitted_at = EXCLUDED.admitted_at, claimed_at = EXCLUDED.claimed_at, changed_at = EXCLUDED.changed_at,
            correlation_id = EXCLUDED.correlation_id, last_event_id = EXCLUDED.last_event_id;
    END IF;

    -- Always the owner's row, then everyone's: one order of locks, no deadlock. A pool has no row, which all who claim at
    -- once would wait for; and everyone's changes by a claim only if that scales.
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

    IF p_wake THEN
        UPDATE slipway.work w SET
            wanted_version = append.version, parked_at = NULL, attempt = 0,
            -- A leased row is seen to as soon as its holder finishes; until then due_at is its lease.
            due_at = CASE WHEN w.lease_owner IS NOT NULL THEN w.due_at
                          WHEN w.due_at <= v_now THEN w.due_at ELSE v_now END
         WHERE w.stream_id = p_stream;
        IF NOT FOUND THEN
            INSERT INTO slipway.work (stream_id, wanted_version) VALUES (p_stream, append.version);
        END IF;
    END IF;
END $$;

-- As before, but what is launched for a pool takes no place from anybody.
CREATE OR REPLACE FUNCTION slipway.admission_room(p_at timestamptz) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT greatest(0, least(
        1000,
        CASE WHEN a.at_once > 0 THEN a.at_once - (
            SELECT count(*) FROM slipway.cluster c
             WHERE c.status = 'launching' AND NOT slipway.in_line(c.state) AND c.owner NOT LIKE 'pool:%') END,
        CASE WHEN a.per_second > 0 THEN floor(slipway.admission_tokens(a, p_at)) END))::integer
      FROM slipway.admission a
$$;

-- How many a pool may be let in with: a quarter of the places, as long as there are as many left of all, and only what
-- nobody has made use of in the last second, so that whoever comes next finds the bucket all but full.
CREATE FUNCTION slipway.pool_room(p_at timestamptz) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT greatest(0, least(
        1000,
        CASE WHEN a.at_once > 0 THEN least(greatest(a.at_once / 4, 1) - u.of_pools, a.at_once - u.of_all) END,
        CASE WHEN a.per_second > 0 THEN
            floor(slipway.admission_tokens(a, p_at) - greatest(a.per_second, 1)) + 1 END))::integer
      FROM slipway.admission a, (
            SELECT count(*) AS of_all, count(*) FILTER (WHERE c.owner LIKE 'pool:%') AS of_pools
              FROM slipway.cluster c WHERE c.status = 'launching' AND NOT slipway.in_line(c.state)) u
$$;

CREATE OR REPLACE FUNCTION slipway.admit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_bucket slipway.admission;
    v_at     timestamptz;
    v_room   integer;
BEGIN
    SELECT * INTO v_bucket FROM slipway.admission FOR UPDATE;
    v_at := clock_timestamp();
    SELECT CASE WHEN c.owner LIKE 'pool:%' THEN slipway.pool_room(v_at) ELSE slipway.admission_room(v_at) END INTO v_room
      FROM slipway.cluster c WHERE c.id = NEW.stream_id;
    IF v_room < 1 THEN
        RAISE EXCEPTION 'admission' USING ERRCODE = 'SW429';
    END IF;
    UPDATE slipway.admission SET tokens = slipway.admission_tokens(v_bucket, v_at) - 1, filled_at = v_at
     WHERE v_bucket.per_second > 0;
    UPDATE slipway.cluster SET admitted_at = NEW.recorded_at WHERE id = NEW.stream_id;
    RETURN NULL;
END $$;

-- The views. What a cluster had before its claim is its pool's.

CREATE OR REPLACE VIEW slipway.worker_spans AS -- from each change of the worker count to the next change, or the end, or now
WITH counted AS (
    SELECT stream_id, version, type, recorded_at, data ->> 'owner' AS owner,
           CASE type WHEN 'Scaled' THEN (data ->> 'workers')::integer WHEN 'Claimed' THEN NULL ELSE 0 END AS workers
      FROM slipway.event
     WHERE type IN ('LaunchRequested', 'Claimed', 'Scaled', 'BecameReady', 'LaunchFailed', 'StopRequested')
), spans AS (
    SELECT stream_id AS cluster, type,
           coalesce(workers, lag(workers) OVER stream, 0) AS workers,
           recorded_at AS since,
           lead(recorded_at, 1, now()) OVER stream AS until,
           -- a cluster is claimed once at the most
           CASE WHEN version >= min(version) FILTER (WHERE type = 'Claimed') OVER whole
                THEN max(owner) FILTER (WHERE type = 'Claimed') OVER whole
                ELSE max(owner) FILTER (WHERE type = 'LaunchRequested') OVER whole END AS owner
      FROM counted
    WINDOW stream AS (PARTITION BY stream_id ORDER BY version), whole AS (PARTITION BY stream_id)
)
SELECT cluster, workers, since, until, owner FROM spans WHERE type <> 'LaunchRequested';
COMMENT ON VIEW slipway.worker_spans IS 'How many workers each cluster had, from when to when, and who had the cluster then';

CREATE OR REPLACE VIEW slipway.worker_hours AS
SELECT (day AT TIME ZONE 'UTC')::date AS day, s.owner, p.name AS person, l.data ->> 'profile' AS profile,
       count(DISTINCT s.cluster) AS clusters, max(s.workers) AS workers_peak,
       (sum(s.workers * extract(epoch FROM least(s.until, day + interval '24 hours') - greatest(s.since, day))) / 3600)
           ::double precision AS worker_hours
  FROM slipway.worker_spans s
  JOIN slipway.event l ON l.stream_id = s.cluster AND l.type = 'LaunchRequested'
  LEFT JOIN slipway.person p ON p.subject = s.owner
 -- Days of UTC, each of 24 hours, whatever the session's time zone makes of them.
 CROSS JOIN LATERAL (
    SELECT d AT TIME ZONE 'UTC' AS day
      FROM generate_series(date_trunc('day', s.since AT TIME ZONE 'UTC'), s.until AT TIME ZONE 'UTC', interval '1 day') d) days
 WHERE s.workers > 0 AND day < s.until
 GROUP BY 1, 2, 3, 4;
COMMENT ON VIEW slipway.worker_hours IS 'Worker-hours by day (UTC), owner and profile; a cluster that runs past midnight has its share in each day, and a pool what it had before the claim';

CREATE OR REPLACE VIEW slipway.launches AS
WITH story AS (
    SELECT stream_id,
           min(recorded_at) FILTER (WHERE type = 'LaunchRequested') AS requested_at,
           min(recorded_at) FILTER (WHERE type = 'BecameReady') AS ready_at,
           min(recorded_at) FILTER (WHERE type IN ('LaunchFailed', 'StopRequested')) AS ended_at,
           min(recorded_at) FILTER (WHERE type = 'Removed') AS removed_at,
           min(recorded_at) FILTER (WHERE type = 'Admitted') AS admitted_at,
           min(recorded_at) FILTER (WHERE type = 'Claimed') AS claimed_at
      FROM slipway.event GROUP BY stream_id
), used AS (
    SELECT cluster, owner, max(workers) AS workers_peak,
           sum(workers * extract(epoch FROM until - since)) / 3600 AS worker_hours
      FROM slipway.worker_spans GROUP BY cluster, owner
)
SELECT l.stream_id AS cluster,
       a.actor AS requested_by,
       a.data ->> 'owner' AS owner,
       l.data ->> 'profile' AS profile,
       coalesce(n.data ->> 'workers', l.data ->> 'workers')::integer AS workers_requested,
       l.data -> 'materials' AS materials,
       a.recorded_at AS requested_at,
       greatest(s.ready_at, s.claimed_at) AS ready_at,
       extract(epoch FROM greatest(s.ready_at, s.claimed_at) - a.recorded_at)::double precision AS seconds_to_ready,
       CASE WHEN e.type = 'LaunchFailed' THEN 'failed'
            WHEN e.type = 'StopRequested' THEN 'stopped'
            WHEN s.ready_at IS NOT NULL THEN 'running'
            ELSE 'launching' END AS outcome,
       s.ended_at,
       e.actor AS ended_by,
       CASE e.type WHEN 'LaunchFailed' THEN 'failed' ELSE e.data -> 'reason' ->> 'kind' END AS stop_reason,
       coalesce(e.data ->> 'why', e.data -> 'reason' ->> 'why') AS failure,
       s.removed_at,
       coalesce(u.workers_peak, 0) AS workers_peak,
       round(coalesce(u.worker_hours, 0), 6)::double precision AS worker_hours,
       s.admitted_at,
       -- of seconds_to_ready, so many were spent in line; who left the line unadmitted, or stands in it, has none
       CASE WHEN s.claimed_at IS NULL THEN extract(epoch FROM s.admitted_at - s.requested_at)::double precision END
           AS seconds_in_line,
       p.name AS person, -- none: unknown, or forgotten
       o.address,
       -- launched by a pool then, and claimed when it was requested
       CASE WHEN s.claimed_at IS NOT NULL THEN s.requested_at END AS pooled_at
  FROM slipway.event l
  JOIN story s USING (stream_id)
  -- what the owner did: the launch, or the claim of what a pool had launched
  JOIN slipway.event a ON a.stream_id = l.stream_id
                      AND a.type = CASE WHEN s.claimed_at IS NULL THEN 'LaunchRequested' ELSE 'Claimed' END
  LEFT JOIN slipway.event n ON n.stream_id = a.stream_id AND n.version = a.version + 1 AND n.type = 'ScaleRequested'
                           AND a.type = 'Claimed' AND n.correlation_id = a.correlation_id
  LEFT JOIN used u ON u.cluster = l.stream_id AND u.owner = a.data ->> 'owner'
  LEFT JOIN slipway.event e ON e.stream_id = l.stream_id AND e.recorded_at = s.ended_at
                           AND e.type IN ('LaunchFailed', 'StopRequested')
  LEFT JOIN slipway.person p ON p.subject = a.data ->> 'owner'
  LEFT JOIN slipway.origin o ON o.correlation_id = a.correlation_id
 WHERE l.type = 'LaunchRequested';
COMMENT ON VIEW slipway.launches IS
    'One row per launch: who, when, from where, what, outcome, time in line and to ready, worker-hours, why it ended; what a pool launched is its claimant''s from the claim on';

CREATE OR REPLACE VIEW slipway.changes AS
WITH sizes AS (
    SELECT e.*, coalesce(c.data ->> 'owner', first_value(e.data ->> 'owner') OVER stream) AS owner,
           lag((e.data ->> 'workers')::integer, 1, 0) OVER stream AS before
      FROM slipway.event e LEFT JOIN slipway.event c ON c.stream_id = e.stream_id AND c.type = 'Claimed' AND c.version < e.version
     WHERE e.type IN ('LaunchRequested', 'ScaleRequested', 'StopRequested')
    WINDOW stream AS (PARTITION BY e.stream_id ORDER BY e.version)
)
SELECT s.recorded_at AS changed_at, s.stream_id AS cluster, s.owner,
       CASE s.type WHEN 'ScaleRequested' THEN 'scaled' ELSE 'stopped' END AS change,
       s.actor, p.name AS person, o.address,
       s.before AS workers_before,
       coalesce((s.data ->> 'workers')::integer, 0) AS workers_after,
       s.data -> 'reason' ->> 'kind' AS reason,
       s.data -> 'reason' AS evidence
  FROM sizes s
  LEFT JOIN slipway.person p ON p.subject = s.actor
  LEFT JOIN slipway.origin o ON o.correlation_id = s.correlation_id
 WHERE s.type <> 'LaunchRequested';
COMMENT ON VIEW slipway.changes IS 'Who scaled and who stopped a cluster, from where, from how many workers to how many, and why';

CREATE OR REPLACE VIEW slipway.failures AS
SELECT f.recorded_at AS failed_at, f.stream_id AS cluster, a.owner, p.name AS person,
       l.data ->> 'profile' AS profile,
       CASE f.type WHEN 'LaunchFailed' THEN 'launch' WHEN 'StopRequested' THEN 'cluster' ELSE 'materials' END AS what,
       extract(epoch FROM f.recorded_at - coalesce(c.recorded_at, l.recorded_at))::double precision AS seconds_after_request,
       w.why,
       -- The same for all that failed alike: without what differs each time.
       regexp_replace(w.why, 'cluster-[0-9]+|[0-9]+', '…', 'g') AS reason
  FROM slipway.event f
  JOIN slipway.event l ON l.stream_id = f.stream_id AND l.type = 'LaunchRequested'
  LEFT JOIN slipway.event c ON c.stream_id = f.stream_id AND c.type = 'Claimed' AND c.version < f.version
 CROSS JOIN LATERAL (SELECT coalesce(c.data ->> 'owner', l.data ->> 'owner') AS owner) a
  LEFT JOIN slipway.person p ON p.subject = a.owner
 CROSS JOIN LATERAL (SELECT coalesce(f.data ->> 'why', f.data -> 'reason' ->> 'why', f.data -> 'step' ->> 'why') AS why) w
 WHERE f.type = 'LaunchFailed'
    OR f.type = 'StopRequested' AND f.data -> 'reason' ->> 'kind' = 'failed'
    OR f.type = 'StepReached' AND f.data -> 'step' ->> 'name' = 'materials_failed';
COMMENT ON VIEW slipway.failures IS 'What failed, a launch, a running cluster or its materials, and why; reason groups those that failed alike';

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
        GRANT EXECUTE ON FUNCTION slipway.append, slipway.see, slipway.post_routes, slipway.settle_epoch, slipway.claim,
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
