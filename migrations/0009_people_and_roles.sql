-- Who people are and where they came from, outside the log and forgettable; views for the organiser's questions; and who may
-- do what. ARCHITECTURE.md, "Personal data" and "Roles", argue each point.

-- Whoever has acted by the API, by the opaque subject that the log knows, and whom an operator has given a name.
CREATE TABLE slipway.person (
    subject    text        PRIMARY KEY,
    name       text        CHECK (length(name) BETWEEN 1 AND 200),
    first_seen timestamptz,
    last_seen  timestamptz
) WITH (fillfactor = 70);
INSERT INTO slipway.person (subject, first_seen, last_seen)
SELECT owner, min(launched_at), max(launched_at) FROM slipway.cluster WHERE owner NOT LIKE 'cli:%' GROUP BY owner;

-- Where an act came from: its events bear the same correlation. Kept for as long as the API is told to. No index but the
-- key's, which grows at its end: whatever else looks for rows is rare.
CREATE TABLE slipway.origin (
    correlation_id uuid        PRIMARY KEY,
    subject        text        NOT NULL,
    address        inet        NOT NULL,
    at             timestamptz NOT NULL
);

-- Who was forgotten, when and by whom. The subject is needed to know its cookie by, and tells nothing any more.
CREATE TABLE slipway.erasure (
    subject   text        PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now(),
    erased_by text        NOT NULL
);
COMMENT ON TABLE slipway.erasure IS 'Subjects that were forgotten, when and by whom; append-only';
CREATE TRIGGER erasure_is_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON slipway.erasure
    FOR EACH STATEMENT EXECUTE FUNCTION slipway.refuse_change();
ALTER TABLE slipway.erasure ENABLE ALWAYS TRIGGER erasure_is_immutable;

-- Notes who acted, and from where unless that is not to be kept. Called in the statement of the append, so that the act and
-- its origin are one transaction and one round trip. Error: SW401 whoever was forgotten acts no more.
CREATE FUNCTION slipway.see(p_subject text, p_correlation uuid, p_address inet, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Held to the commit, against forget: either that removes what is written here, or this sees that it was there.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('slipway.person ' || p_subject, 0));
    IF EXISTS (SELECT FROM slipway.erasure e WHERE e.subject = p_subject) THEN
        RAISE EXCEPTION 'forgotten' USING ERRCODE = 'SW401';
    END IF;
    INSERT INTO slipway.person AS p (subject, first_seen, last_seen) VALUES (p_subject, p_at, p_at)
    ON CONFLICT (subject) DO UPDATE SET
        first_seen = coalesce(p.first_seen, EXCLUDED.first_seen), last_seen = greatest(p.last_seen, EXCLUDED.last_seen);
    IF p_address IS NOT NULL THEN
        INSERT INTO slipway.origin (correlation_id, subject, address, at)
        VALUES (p_correlation, p_subject, p_address, p_at) ON CONFLICT DO NOTHING;
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION slipway.prune_origins(p_keep interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH pruned AS (DELETE FROM slipway.origin WHERE at <= clock_timestamp() - p_keep RETURNING 1)
    SELECT count(*) FROM pruned
$$;

-- Removes all that tells who a subject is, and records that. Again, it removes what has come back with an older dump.
CREATE FUNCTION slipway.forget(
    p_subject text, p_by text,
    OUT erased_at timestamptz, OUT erased_by text, OUT named boolean, OUT addresses bigint, OUT tokens bigint, OUT keys bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('slipway.person ' || p_subject, 0));
    INSERT INTO slipway.erasure (subject, erased_by) VALUES (p_subject, p_by) ON CONFLICT DO NOTHING;
    SELECT e.erased_at, e.erased_by INTO forget.erased_at, forget.erased_by FROM slipway.erasure e WHERE e.subject = p_subject;
    named := EXISTS (SELECT FROM slipway.person p WHERE p.subject = p_subject AND p.name IS NOT NULL);
    DELETE FROM slipway.person p WHERE p.subject = p_subject;
    DELETE FROM slipway.origin o WHERE o.subject = p_subject;
    GET DIAGNOSTICS addresses = ROW_COUNT;
    UPDATE slipway.api_token t SET name = 'forgotten', revoked_at = coalesce(t.revoked_at, now()) WHERE t.subject = p_subject;
    GET DIAGNOSTICS tokens = ROW_COUNT;
    DELETE FROM slipway.request r WHERE r.actor = p_subject;
    GET DIAGNOSTICS keys = ROW_COUNT;
END $$;

-- The views. Whoever may read one needs no right to what it reads.

CREATE VIEW slipway.people AS
SELECT coalesce(p.subject, t.subject) AS subject, p.name, coalesce(t.tokens, '{}') AS tokens, p.first_seen, p.last_seen,
       o.address AS last_address, coalesce(c.launches, 0) AS launches
  FROM slipway.person p
  FULL JOIN (SELECT subject, array_agg(name ORDER BY created_at) AS tokens FROM slipway.api_token GROUP BY subject) t
         ON t.subject = p.subject
  LEFT JOIN (SELECT DISTINCT ON (subject) subject, address FROM slipway.origin ORDER BY subject, at DESC) o
         ON o.subject = coalesce(p.subject, t.subject)
  LEFT JOIN (SELECT owner, count(*) AS launches FROM slipway.cluster GROUP BY owner) c
         ON c.owner = coalesce(p.subject, t.subject)
 WHERE NOT EXISTS (SELECT FROM slipway.erasure e WHERE e.subject = coalesce(p.subject, t.subject));
COMMENT ON VIEW slipway.people IS 'What is known of whom the log calls by an opaque subject: name, tokens, when and whence';

CREATE VIEW slipway.worker_spans AS -- from each change of the worker count to the next change, or the end, or now
SELECT stream_id AS cluster,
       CASE type WHEN 'Scaled' THEN (data ->> 'workers')::integer ELSE 0 END AS workers,
       recorded_at AS since,
       lead(recorded_at, 1, now()) OVER (PARTITION BY stream_id ORDER BY version) AS until
  FROM slipway.event
 WHERE type IN ('Scaled', 'BecameReady', 'LaunchFailed', 'StopRequested');
COMMENT ON VIEW slipway.worker_spans IS 'How many workers each cluster had, from when to when';

CREATE VIEW slipway.worker_hours AS
SELECT (day AT TIME ZONE 'UTC')::date AS day, l.data ->> 'owner' AS owner, p.name AS person, l.data ->> 'profile' AS profile,
       count(DISTINCT s.cluster) AS clusters, max(s.workers) AS workers_peak,
       (sum(s.workers * extract(epoch FROM least(s.until, day + interval '24 hours') - greatest(s.since, day))) / 3600)
           ::double precision AS worker_hours
  FROM slipway.worker_spans s
  JOIN slipway.event l ON l.stream_id = s.cluster AND l.type = 'LaunchRequested'
  LEFT JOIN slipway.person p ON p.subject = l.data ->> 'owner'
 -- Days of UTC, each of 24 hours, whatever the session's time zone makes of them.
 CROSS JOIN LATERAL (
    SELECT d AT TIME ZONE 'UTC' AS day
      FROM generate_series(date_trunc('day', s.since AT TIME ZONE 'UTC'), s.until AT TIME ZONE 'UTC', interval '1 day') d) days
 WHERE s.workers > 0 AND day < s.until
 GROUP BY 1, 2, 3, 4;
COMMENT ON VIEW slipway.worker_hours IS 'Worker-hours by day (UTC), owner and profile; a cluster that runs past midnight has its share in each day';

CREATE OR REPLACE VIEW slipway.launches AS
WITH story AS (
    SELECT stream_id,
           min(recorded_at) FILTER (WHERE type = 'LaunchRequested') AS requested_at,
           min(recorded_at) FILTER (WHERE type = 'BecameReady') AS ready_at,
           min(recorded_at) FILTER (WHERE type IN ('LaunchFailed', 'StopRequested')) AS ended_at,
           min(recorded_at) FILTER (WHERE type = 'Removed') AS removed_at,
           min(recorded_at) FILTER (WHERE type = 'Admitted') AS admitted_at
      FROM slipway.event GROUP BY stream_id
), used AS (
    SELECT cluster, max(workers) AS workers_peak,
           sum(workers * extract(epoch FROM until - since)) / 3600 AS worker_hours
      FROM slipway.worker_spans GROUP BY cluster
)
SELECT l.stream_id AS cluster,
       l.actor AS requested_by,
       l.data ->> 'owner' AS owner,
       l.data ->> 'profile' AS profile,
       (l.data ->> 'workers')::integer AS workers_requested,
       l.data -> 'materials' AS materials,
       s.requested_at,
       s.ready_at,
       extract(epoch FROM s.ready_at - s.requested_at)::double precision AS seconds_to_ready,
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
       extract(epoch FROM s.admitted_at - s.requested_at)::double precision AS seconds_in_line,
       p.name AS person, -- none: unknown, or forgotten
       o.address
  FROM slipway.event l
  JOIN story s USING (stream_id)
  LEFT JOIN used u ON u.cluster = l.stream_id
  LEFT JOIN slipway.event e ON e.stream_id = l.stream_id AND e.recorded_at = s.ended_at
                           AND e.type IN ('LaunchFailed', 'StopRequested')
  LEFT JOIN slipway.person p ON p.subject = l.data ->> 'owner'
  LEFT JOIN slipway.origin o ON o.correlation_id = l.correlation_id
 WHERE l.type = 'LaunchRequested';
COMMENT ON VIEW slipway.launches IS
    'One row per launch: who, when, from where, what, outcome, time in line and to ready, worker-hours, why it ended';

CREATE VIEW slipway.changes AS
WITH sizes AS (
    SELECT *, first_value(data ->> 'owner') OVER stream AS owner,
           lag((data ->> 'workers')::integer, 1, 0) OVER stream AS before
      FROM slipway.event WHERE type IN ('LaunchRequested', 'ScaleRequested', 'StopRequested')
    WINDOW stream AS (PARTITION BY stream_id ORDER BY version)
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

CREATE VIEW slipway.failures AS
SELECT f.recorded_at AS failed_at, f.stream_id AS cluster, l.data ->> 'owner' AS owner, p.name AS person,
       l.data ->> 'profile' AS profile,
       CASE f.type WHEN 'LaunchFailed' THEN 'launch' WHEN 'StopRequested' THEN 'cluster' ELSE 'materials' END AS what,
       extract(epoch FROM f.recorded_at - l.recorded_at)::double precision AS seconds_after_request,
       w.why,
       -- The same for all that failed alike: without what differs each time.
       regexp_replace(w.why, 'cluster-[0-9]+|[0-9]+', '…', 'g') AS reason
  FROM slipway.event f
  JOIN slipway.event l ON l.stream_id = f.stream_id AND l.type = 'LaunchRequested'
  LEFT JOIN slipway.person p ON p.subject = l.data ->> 'owner'
 CROSS JOIN LATERAL (SELECT coalesce(f.data ->> 'why', f.data -> 'reason' ->> 'why', f.data -> 'step' ->> 'why') AS why) w
 WHERE f.type = 'LaunchFailed'
    OR f.type = 'StopRequested' AND f.data -> 'reason' ->> 'kind' = 'failed'
    OR f.type = 'StepReached' AND f.data -> 'step' ->> 'name' = 'materials_failed';
COMMENT ON VIEW slipway.failures IS 'What failed, a launch, a running cluster or its materials, and why; reason groups those that failed alike';

-- Who may do what. The functions by which the log is written act as its owner, so that nobody else needs a right to
-- change it; their search path is fixed, so that no caller can put another meaning under their names.
ALTER FUNCTION slipway.append SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION slipway.post_routes SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION slipway.settle_epoch SECURITY DEFINER SET search_path = pg_catalog, pg_temp;

-- As in 0005: another database of the server may be making the same one, and a managed server may not let us.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY '{slipway_writer,slipway_auditor}'::text[] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'no right to create the role %; create it, then SELECT slipway.grant_roles()', v_role;
            END;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION slipway.grant_roles() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA slipway FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_writer') THEN
        GRANT USAGE ON SCHEMA slipway TO slipway_writer;
        GRANT SELECT ON slipway.installation, slipway.stream, slipway.event, slipway.route_event, slipway.erasure
           TO slipway_writer;
        GRANT SELECT, INSERT, UPDATE, DELETE
           ON slipway.cluster, slipway.usage, slipway.activity, slipway.leader, slipway.posted_route TO slipway_writer;
        GRANT SELECT, INSERT, UPDATE ON slipway.work, slipway.api_token TO slipway_writer;
        GRANT SELECT, DELETE ON slipway.request TO slipway_writer;
        GRANT SELECT, UPDATE ON slipway.admission TO slipway_writer;
        GRANT EXECUTE ON FUNCTION slipway.append, slipway.see, slipway.post_routes, slipway.settle_epoch, slipway.claim,
            slipway.prune_origins, slipway.in_line, slipway.admission_room, slipway.admission_tokens, slipway.event_hash,
            slipway.route_event_hash TO slipway_writer;
        IF to_regclass('public._sqlx_migrations') IS NOT NULL THEN
            GRANT SELECT ON public._sqlx_migrations TO slipway_writer;
        END IF;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_auditor') THEN
        GRANT USAGE ON SCHEMA slipway TO slipway_auditor;
        GRANT SELECT ON slipway.launches, slipway.trail, slipway.people, slipway.worker_spans, slipway.worker_hours,
            slipway.changes, slipway.failures, slipway.erasure, slipway.event, slipway.stream, slipway.cluster,
            slipway.installation TO slipway_auditor;
        IF to_regclass('public._sqlx_migrations') IS NOT NULL THEN
            GRANT SELECT ON public._sqlx_migrations TO slipway_auditor;
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION slipway.grant_roles() IS
    'Gives slipway_writer and slipway_auditor their rights; for the owner of the schema, once the roles are there';
SELECT slipway.grant_roles();
