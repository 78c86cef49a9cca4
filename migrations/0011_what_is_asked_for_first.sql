-- What somebody has asked for is done before what is only looked at again, so that a launch does not wait behind the
-- resync of a thousand clusters. What has been due for a minute has a quarter of all claims, and cannot starve.

-- The strongest lock comes first, so that nobody gets in between. More wanted of what is due anyway is no HOT update any
-- more; it is rare. Workers of older versions look for what is due without an index until they are replaced.
DROP INDEX slipway.work_due;
CREATE INDEX work_asked ON slipway.work (due_at) WHERE due_at IS NOT NULL AND wanted_version > done_version;
CREATE INDEX work_unasked ON slipway.work (due_at) WHERE due_at IS NOT NULL AND wanted_version <= done_version;

-- As before, arrays keep the planner from reading the whole table. The statement's time, unlike the clock's, is a bound for
-- the index: with the latter a claim that is not filled reads all that is scheduled. A busy worker claims one at a time:
-- a quarter of that is one, each fourth time.
CREATE OR REPLACE FUNCTION slipway.claim(p_owner text, p_limit integer, p_lease interval)
RETURNS TABLE (stream_id text, lease_token bigint, wanted_version bigint, attempt integer)
LANGUAGE sql AS $$
    WITH long_due AS MATERIALIZED (
        SELECT d.stream_id FROM slipway.work d
         WHERE d.due_at <= statement_timestamp() - interval '1 minute' AND d.wanted_version <= d.done_version
         ORDER BY d.due_at LIMIT floor(p_limit / 4.0 + random())::integer FOR UPDATE SKIP LOCKED
    ), asked AS MATERIALIZED (
        SELECT d.stream_id FROM slipway.work d
         WHERE d.due_at <= statement_timestamp() AND d.wanted_version > d.done_version
         ORDER BY d.due_at LIMIT p_limit - (SELECT count(*) FROM long_due) FOR UPDATE SKIP LOCKED
    ), unasked AS MATERIALIZED (
        SELECT d.stream_id FROM slipway.work d
         WHERE d.due_at <= statement_timestamp() AND d.wanted_version <= d.done_version
           AND d.stream_id <> ALL (ARRAY(SELECT l.stream_id FROM long_due l))
         ORDER BY d.due_at LIMIT p_limit - (SELECT count(*) FROM long_due) - (SELECT count(*) FROM asked)
           FOR UPDATE SKIP LOCKED
    )
    UPDATE slipway.work w
       SET attempt = w.attempt + 1, lease_token = w.lease_token + 1, lease_owner = p_owner, nudged = false,
           due_at = clock_timestamp() + p_lease
     WHERE w.stream_id = ANY (ARRAY(
            SELECT l.stream_id FROM long_due l UNION ALL SELECT a.stream_id FROM asked a
            UNION ALL SELECT u.stream_id FROM unasked u))
    RETURNING w.stream_id, w.lease_token, w.wanted_version, w.attempt
$$;
