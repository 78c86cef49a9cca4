-- The organiser's questions. Run them as the role slipway_auditor, which can read and nothing else:
--   psql "$DATABASE_URL" -c 'SET ROLE slipway_auditor' -f ops/audit.sql
-- Who is who: owner and actor are opaque subjects, such as browser:…, token:… or cli:…; no personal data is in the log. Person
-- and address are known until they are forgotten (`slipway forget`, `--keep-addresses`).

-- Who launched what today, when, from where, and how did it go?
SELECT requested_at, coalesce(person, owner) AS who, address, cluster, profile, workers_requested, outcome,
       round(seconds_in_line::numeric, 1) AS in_line, round(seconds_to_ready::numeric, 1) AS ready_after
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

-- What failed, how often, and why? Those that failed alike together, with one of them to look at.
SELECT what, reason, count(*) AS times, count(DISTINCT owner) AS people, max(failed_at) AS last, max(cluster) AS one_of_them
  FROM slipway.failures GROUP BY what, reason ORDER BY times DESC;

-- Who used how much, each day (UTC)?
SELECT day, coalesce(person, owner) AS who, clusters, round(worker_hours::numeric, 2) AS worker_hours
  FROM slipway.worker_hours ORDER BY day, worker_hours DESC;

-- And which class, by its profile?
SELECT day, profile, count(DISTINCT owner) AS people, round(sum(worker_hours)::numeric, 2) AS worker_hours
  FROM slipway.worker_hours GROUP BY day, profile ORDER BY day, worker_hours DESC;

-- How many workers were there at the busiest time of each day?
SELECT at::date AS day, max(workers) AS most_workers
  FROM (SELECT at, sum(more) OVER (ORDER BY at, more) AS workers
          FROM (SELECT since AS at, workers AS more FROM slipway.worker_spans
                 UNION ALL SELECT until, -workers FROM slipway.worker_spans) AS steps) AS counted
 GROUP BY day ORDER BY day;

-- Who scaled, who stopped, from where, from what to what, and for which reason?
SELECT changed_at, cluster, owner, change, coalesce(person, actor) AS by_whom, address, workers_before, workers_after, reason
  FROM slipway.changes ORDER BY changed_at;

-- What did the keeper know when it culled an idle cluster?
SELECT changed_at, cluster, evidence FROM slipway.changes WHERE reason = 'idle' ORDER BY changed_at;

-- Everything that one click has led to, the work of the workers included.
SELECT recorded_at, cluster, version, type, actor
  FROM slipway.trail
 WHERE correlation_id = (SELECT correlation_id FROM slipway.trail WHERE type = 'LaunchRequested'
                          ORDER BY recorded_at DESC LIMIT 1)
 ORDER BY recorded_at, version;

-- Who put which cluster aside, what did the workers give up, and who had it taken up again, and why?
SELECT recorded_at, cluster, actor, type, coalesce(data -> 'reason' ->> 'why', data ->> 'why') AS why
  FROM slipway.trail WHERE type IN ('Parked', 'Requeued') ORDER BY recorded_at;

-- Who is behind the subjects, as far as it is known, and who has not come for a month?
SELECT subject, name, tokens, last_seen, last_address, launches, last_seen < now() - interval '1 month' AS long_gone
  FROM slipway.people ORDER BY last_seen;

-- Who was forgotten, when, and by whom?
SELECT erased_at, subject, erased_by FROM slipway.erasure ORDER BY erased_at;

-- What did the pools have running for nobody, and how many launches did that serve at once?
SELECT profile, served, launches, hours_ready, hours_used
  FROM (SELECT profile, count(*) FILTER (WHERE pooled_at IS NOT NULL) AS served, count(*) AS launches
          FROM slipway.launches WHERE owner NOT LIKE 'pool:%' GROUP BY profile) AS l
  JOIN (SELECT profile, sum(worker_hours) FILTER (WHERE owner LIKE 'pool:%') AS hours_ready,
               sum(worker_hours) FILTER (WHERE owner NOT LIKE 'pool:%') AS hours_used
          FROM slipway.worker_hours GROUP BY profile) AS h USING (profile) ORDER BY profile;
