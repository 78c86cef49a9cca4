-- For the organiser's questions. ops/audit.sql shows how to ask them.

CREATE VIEW slipway.launches AS
WITH story AS (
    SELECT stream_id,
           min(recorded_at) FILTER (WHERE type = 'LaunchRequested') AS requested_at,
           min(recorded_at) FILTER (WHERE type = 'BecameReady') AS ready_at,
           min(recorded_at) FILTER (WHERE type IN ('LaunchFailed', 'StopRequested')) AS ended_at,
           min(recorded_at) FILTER (WHERE type = 'Removed') AS removed_at
      FROM slipway.event GROUP BY stream_id
), counted AS ( -- from each change of the worker count to the next change, or the end, or now
    SELECT stream_id,
           CASE type WHEN 'Scaled' THEN (data ->> 'workers')::integer ELSE 0 END AS workers,
           recorded_at AS since,
           lead(recorded_at, 1, now()) OVER (PARTITION BY stream_id ORDER BY version) AS until
      FROM slipway.event
     WHERE type IN ('Scaled', 'BecameReady', 'LaunchFailed', 'StopRequested')
), used AS (
    SELECT stream_id, max(workers) AS workers_peak,
           sum(workers * extract(epoch FROM until - since)) / 3600 AS worker_hours
      FROM counted GROUP BY stream_id
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
       round(coalesce(u.worker_hours, 0), 6)::double precision AS worker_hours
  FROM slipway.event l
  JOIN story s USING (stream_id)
  LEFT JOIN used u USING (stream_id)
  LEFT JOIN slipway.event e ON e.stream_id = l.stream_id AND e.recorded_at = s.ended_at
                           AND e.type IN ('LaunchFailed', 'StopRequested')
 WHERE l.type = 'LaunchRequested';
COMMENT ON VIEW slipway.launches IS 'One row per launch: who, when, what, outcome, time to ready, worker-hours, why it ended';

CREATE VIEW slipway.trail AS
SELECT epoch || '.' || tx || '.' || pos AS position, recorded_at, stream_id AS cluster, version, type, data,
       actor, correlation_id, causation_id, event_id
  FROM slipway.event;
COMMENT ON VIEW slipway.trail IS 'Every event with its metadata; order by recorded_at for reading';

-- Roles belong to the whole server: another database of it may be making the same one right now, and
-- a managed server may not let us.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_auditor') THEN
        CREATE ROLE slipway_auditor NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'no right to create the role slipway_auditor; create it and run the grants of this migration by hand';
END $$;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'slipway_auditor') THEN
        GRANT USAGE ON SCHEMA slipway TO slipway_auditor;
        GRANT SELECT ON slipway.event, slipway.launches, slipway.trail, slipway.cluster TO slipway_auditor;
    END IF;
END $$;
