-- The organiser's questions. Run them as the role slipway_auditor, which can read and nothing else:
--   psql "$DATABASE_URL" -c 'SET ROLE slipway_auditor' -f ops/audit.sql
-- Who is who: owner is an opaque subject, such as browser:…, token:… or cli:…; no personal data is in the log.

-- Who launched what today, and how did it go?
SELECT requested_at, owner, cluster, workers_requested, outcome, round(seconds_to_ready::numeric, 1) AS ready_after
  FROM slipway.launches WHERE requested_at >= date_trunc('day', now()) ORDER BY requested_at;

-- How long do people wait? Median and 95th percentile, per hour.
SELECT date_trunc('hour', requested_at) AS hour, count(*) AS launches,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds_to_ready) AS median_seconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds_to_ready) AS p95_seconds
  FROM slipway.launches GROUP BY hour ORDER BY hour;

-- How much of that is waiting in line, and how much is the launch itself?
SELECT date_trunc('minute', requested_at) AS minute, count(*) AS launches, max(seconds_in_line) AS longest_in_line,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds_to_ready - seconds_in_line) AS median_launch_seconds
  FROM slipway.launches GROUP BY minute ORDER BY minute;

-- Which launches failed, and why?
SELECT requested_at, owner, cluster, failure FROM slipway.launches WHERE failure IS NOT NULL ORDER BY requested_at;

-- Who used how much? Worker-hours by owner and day.
SELECT requested_at::date AS day, owner, count(*) AS clusters, round(sum(worker_hours)::numeric, 2) AS worker_hours
  FROM slipway.launches GROUP BY day, owner ORDER BY day, worker_hours DESC;

-- Who stopped what, and for which reason?
SELECT ended_at, cluster, owner, ended_by, stop_reason FROM slipway.launches WHERE ended_at IS NOT NULL ORDER BY ended_at;

-- What did the keeper know when it culled an idle cluster?
SELECT recorded_at, cluster, data -> 'reason' AS evidence
  FROM slipway.trail WHERE type = 'StopRequested' AND data -> 'reason' ->> 'kind' = 'idle' ORDER BY recorded_at;

-- Everything that one click has led to, the work of the workers included.
SELECT recorded_at, cluster, version, type, actor
  FROM slipway.trail
 WHERE correlation_id = (SELECT correlation_id FROM slipway.trail WHERE type = 'LaunchRequested'
                          ORDER BY recorded_at DESC LIMIT 1)
 ORDER BY recorded_at, version;

-- Who scaled, from when to what?
SELECT recorded_at, cluster, actor, (data ->> 'workers')::integer AS workers
  FROM slipway.trail WHERE type = 'ScaleRequested' ORDER BY recorded_at;

-- Who put which cluster aside, what did the workers give up, and who had it taken up again, and why?
SELECT recorded_at, cluster, actor, type, coalesce(data -> 'reason' ->> 'why', data ->> 'why') AS why
  FROM slipway.trail WHERE type IN ('Parked', 'Requeued') ORDER BY recorded_at;
