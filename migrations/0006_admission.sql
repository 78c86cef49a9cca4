-- Launches wait in line until they are admitted, first come, first served: ARCHITECTURE.md, "Admission".

-- One row: how many launches may be under way, how many may begin in a second, and the bucket that counts the latter.
CREATE TABLE slipway.admission (
    one        boolean          PRIMARY KEY DEFAULT true CHECK (one),
    at_once    integer          NOT NULL DEFAULT 0 CHECK (at_once >= 0),       -- 0: any number
    per_second double precision NOT NULL DEFAULT 0 CHECK (per_second >= 0),    -- 0: any number
    tokens     double precision NOT NULL DEFAULT 1,                            -- at filled_at
    filled_at  timestamptz      NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
INSERT INTO slipway.admission DEFAULT VALUES;

ALTER TABLE slipway.cluster ADD COLUMN admitted_at timestamptz;
-- Those in line and those under way; neither column changes but when a launch begins or ends (HOT).
CREATE INDEX cluster_launching ON slipway.cluster (launched_at, id) WHERE status = 'launching';
-- The launches that the estimate is made from.
CREATE INDEX cluster_launched ON slipway.cluster (ready_at) WHERE admitted_at IS NOT NULL AND ready_at IS NOT NULL;

CREATE FUNCTION slipway.in_line(p_state jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_state #>> '{phase,name}' = 'waiting'
$$;

-- A launch that has reached nothing yet takes its place in line.
UPDATE slipway.cluster SET state = jsonb_set(state, '{phase,name}', '"waiting"')
 WHERE status = 'launching' AND state -> 'steps' = '[]';

-- Tokens in the bucket at a time; it holds those of a second, and one at least.
CREATE FUNCTION slipway.admission_tokens(p_bucket slipway.admission, p_at timestamptz) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(greatest(p_bucket.per_second, 1),
                 p_bucket.tokens + p_bucket.per_second * greatest(extract(epoch FROM p_at - p_bucket.filled_at), 0))
$$;

-- How many launches may be admitted at a time.
CREATE FUNCTION slipway.admission_room(p_at timestamptz) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT greatest(0, least(
        1000,
        CASE WHEN a.at_once > 0 THEN a.at_once - (
            SELECT count(*) FROM slipway.cluster c WHERE c.status = 'launching' AND NOT slipway.in_line(c.state)) END,
        CASE WHEN a.per_second > 0 THEN floor(slipway.admission_tokens(a, p_at)) END))::integer
      FROM slipway.admission a
$$;

-- Runs within the append of an admission, so that no number of workers gets past the limits together: the row lock
-- is held to the commit, and whoever comes next counts what was admitted before. Error: SW429 admission.
CREATE FUNCTION slipway.admit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_bucket slipway.admission;
    v_at     timestamptz;
BEGIN
    SELECT * INTO v_bucket FROM slipway.admission FOR UPDATE;
    v_at := clock_timestamp();
    IF slipway.admission_room(v_at) < 1 THEN
        RAISE EXCEPTION 'admission' USING ERRCODE = 'SW429';
    END IF;
    UPDATE slipway.admission SET tokens = slipway.admission_tokens(v_bucket, v_at) - 1, filled_at = v_at
     WHERE v_bucket.per_second > 0;
    UPDATE slipway.cluster SET admitted_at = NEW.recorded_at WHERE id = NEW.stream_id;
    RETURN NULL;
END $$;
CREATE TRIGGER event_admits AFTER INSERT ON slipway.event
    FOR EACH ROW WHEN (NEW.type = 'Admitted') EXECUTE FUNCTION slipway.admit();

CREATE OR REPLACE VIEW slipway.launches AS
WITH story AS (
    SELECT stream_id,
           min(recorded_at) FILTER (WHERE type = 'LaunchRequested') AS requested_at,
           min(recorded_at) FILTER (WHERE type = 'BecameReady') AS ready_at,
           min(recorded_at) FILTER (WHERE type IN ('LaunchFailed', 'StopRequested')) AS ended_at,
           min(recorded_at) FILTER (WHERE type = 'Removed') AS removed_at,
           min(recorded_at) FILTER (WHERE type = 'Admitted') AS admitted_at
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
       round(coalesce(u.worker_hours, 0), 6)::double precision AS worker_hours,
       s.admitted_at,
       -- of seconds_to_ready, so many were spent in line; who left the line unadmitted, or stands in it, has none
       extract(epoch FROM s.admitted_at - s.requested_at)::double precision AS seconds_in_line
  FROM slipway.event l
  JOIN story s USING (stream_id)
  LEFT JOIN used u USING (stream_id)
  LEFT JOIN slipway.event e ON e.stream_id = l.stream_id AND e.recorded_at = s.ended_at
                           AND e.type IN ('LaunchFailed', 'StopRequested')
 WHERE l.type = 'LaunchRequested';
