-- Whether somebody asks for something, as a column: the two indexes of 0011 had what changes with each append in their conditions,
-- which made every update of a row write to all of its indexes. More wanted of what is due anyway touches none now (HOT).

DROP INDEX slipway.work_asked, slipway.work_unasked;
ALTER TABLE slipway.work ADD COLUMN asked boolean NOT NULL GENERATED ALWAYS AS (wanted_version > done_version) STORED;
CREATE INDEX work_due ON slipway.work (asked, due_at) WHERE due_at IS NOT NULL;

-- As before (0011), by that column, and planned once a session instead of at each call, which was most of what a claim took. Workers
-- of older versions call this one, and look for what is due next without an index.
CREATE OR REPLACE FUNCTION slipway.claim(p_owner text, p_limit integer, p_lease interval)
RETURNS TABLE (stream_id text, lease_token bigint, wanted_version bigint, attempt integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH long_due AS MATERIALIZED (
        SELECT d.stream_id FROM slipway.work d
         WHERE d.due_at <= statement_timestamp() - interval '1 minute' AND NOT d.asked
         ORDER BY d.due_at LIMIT floor(p_limit / 4.0 + random())::integer FOR UPDATE SKIP LOCKED
    ), asked AS MATERIALIZED (
        SELECT d.stream_id FROM slipway.work d
         WHERE d.due_at <= statement_timestamp() AND d.asked
         ORDER BY d.due_at LIMIT p_limit - (SELECT count(*) FROM long_due) FOR UPDATE SKIP LOCKED
    ), unasked AS MATERIALIZED (
        SELECT d.stream_id FROM slipway.work d
         WHERE d.due_at <= statement_timestamp() AND NOT d.asked
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
    RETURNING w.stream_id, w.lease_token, w.wanted_version, w.attempt;
END $$;
