-- Whether somebody asks for something, as a column: the two indexes of 0011 had what changes with each append in their conditions,
-- which made every update of a row write to all of its indexes. More wanted of what is due anyway touches none now (HOT).

DROP INDEX slipway.work_asked, slipway.work_unasked;
ALTER TABLE slipway.work ADD COLUMN asked boolean NOT NULL GENERATED ALWAYS AS (wanted_version > done_version) STORED;
CREATE INDEX work_due ON slipway.work (asked, due_at) WHERE due_at IS NOT NULL;

-- Leases what is due, as slipway.claim of 0011 did, and says from where to look the next time: what was due earlier is taken, or another's.
-- A look goes over what is dead in the index, and while somebody keeps an old snapshot that is all that was done since. An append may
-- commit later than it says that it is due, so places are a moment back; and whoever looks begins from the beginning now and then. When
-- nothing is due there is one row without a lease. PL/pgSQL keeps the plan for a session; planning was most of a claim.
CREATE FUNCTION slipway.take(
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
        SELECT d.stream_id FROM slipway.work d
         WHERE NOT d.asked AND d.due_at >= v_unasked AND d.due_at <= v_now - interval '1 minute'
         ORDER BY d.due_at LIMIT floor(p_limit / 4.0 + random())::integer FOR UPDATE SKIP LOCKED
    ), asked AS MATERIALIZED (
        SELECT d.stream_id, d.due_at FROM slipway.work d
         WHERE d.asked AND d.due_at >= v_asked AND d.due_at <= v_now
         ORDER BY d.due_at LIMIT p_limit - (SELECT count(*) FROM long_due) FOR UPDATE SKIP LOCKED
    ), unasked AS MATERIALIZED (
        SELECT d.stream_id FROM slipway.work d
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
         WHERE w.stream_id = ANY (ARRAY(SELECT l.stream_id FROM long_due l UNION ALL SELECT a.stream_id FROM asked a
                                   UNION ALL SELECT u.stream_id FROM unasked u))
        RETURNING w.stream_id, w.lease_token, w.wanted_version, w.attempt
    )
    SELECT t.*,
           CASE WHEN f.long_due + f.asked < p_limit THEN v_now ELSE coalesce(f.asked_upto, p_asked_from) END - interval '250 ms',
           CASE WHEN f.long_due + f.asked + f.unasked < p_limit THEN v_now - interval '250 ms' ELSE p_unasked_from END,
           CASE WHEN f.long_due + f.asked + f.unasked = 0 THEN
               least((SELECT min(n.due_at) FROM slipway.work n WHERE n.asked AND n.due_at > v_now),
                     (SELECT min(n.due_at) FROM slipway.work n WHERE NOT n.asked AND n.due_at > v_now)) - v_now END
      FROM found f LEFT JOIN taken t ON true;
END $$;

-- For workers of older versions, which look for what is due next without an index.
CREATE OR REPLACE FUNCTION slipway.claim(p_owner text, p_limit integer, p_lease interval)
RETURNS TABLE (stream_id text, lease_token bigint, wanted_version bigint, attempt integer)
LANGUAGE sql AS $$
    SELECT t.stream_id, t.lease_token, t.wanted_version, t.attempt
      FROM slipway.take(p_owner, p_limit, p_lease, NULL, NULL) t WHERE t.stream_id IS NOT NULL
$$;
