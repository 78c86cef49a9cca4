-- What is to be done: one row per cluster, level-triggered, as a Kubernetes work queue is.

CREATE TABLE slipway.work (
    stream_id      text        PRIMARY KEY,
    wanted_version bigint      NOT NULL,           -- newest event that asks for a reconcile
    done_version   bigint      NOT NULL DEFAULT 0, -- newest such event already seen to
    due_at         timestamptz DEFAULT clock_timestamp(), -- schedule, backoff and end of the lease; null: nothing to do
    attempt        integer     NOT NULL DEFAULT 0, -- since the last success
    lease_token    bigint      NOT NULL DEFAULT 0, -- one more at each claim: fences who lost the lease
    lease_owner    text,
    nudged         boolean     NOT NULL DEFAULT false, -- something changed while it was leased: look once more
    parked_at      timestamptz,                    -- given up: the dead letter
    last_error     text
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);
-- Of due_at alone, so that more wanted of what is due anyway updates no index (HOT).
CREATE INDEX work_due ON slipway.work (due_at) WHERE due_at IS NOT NULL;

-- The condition is an array on purpose: as a join with a parameterised LIMIT the planner, once it
-- uses a generic plan, reads the whole table.
CREATE FUNCTION slipway.claim(p_owner text, p_limit integer, p_lease interval)
RETURNS TABLE (stream_id text, lease_token bigint, wanted_version bigint, attempt integer)
LANGUAGE sql AS $$
    UPDATE slipway.work w
       SET attempt = w.attempt + 1, lease_token = w.lease_token + 1, lease_owner = p_owner, nudged = false,
           due_at = clock_timestamp() + p_lease
     WHERE w.stream_id = ANY (ARRAY(
            SELECT d.stream_id FROM slipway.work d
             WHERE d.due_at <= clock_timestamp()
             ORDER BY d.due_at LIMIT p_limit FOR UPDATE SKIP LOCKED))
    RETURNING w.stream_id, w.lease_token, w.wanted_version, w.attempt
$$;

-- One holder at a time of a duty that is not per cluster, such as the keeper's.
CREATE TABLE slipway.leader (
    duty   text        PRIMARY KEY,
    holder text        NOT NULL,
    until  timestamptz NOT NULL
);
