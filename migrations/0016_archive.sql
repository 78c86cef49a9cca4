-- Old partitions leave the log for a file, and come back from it: ARCHITECTURE.md, "The archive". All of this is the owner's.

-- Where one that comes back is put together: not yet part of the log.
CREATE SCHEMA IF NOT EXISTS slipway_archive;

-- Takes the oldest partition out of the log, once its events are in a file and what its streams had come to is noted. Appends and
-- readers wait for the moment that it takes.
CREATE FUNCTION slipway.detach_partition(p_first bigint, p_file text, p_events bigint, p_digest bytea) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_table constant text := 'event_' || p_first;
    v_part  slipway.partition;
    v_sum   record;
    v_last  record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('slipway.partition', 0));
    SELECT * INTO v_part FROM slipway.partition p WHERE p.first = p_first;
    IF v_part.upto_tx IS NULL OR v_part.archived_at IS NOT NULL
       OR EXISTS (SELECT FROM slipway.partition p WHERE p.first < p_first AND p.archived_at IS NULL) THEN
        RAISE EXCEPTION 'the partition from % on is not the oldest, or not sealed', p_first;
    END IF;
    EXECUTE format('SELECT count(*) AS events, max(recorded_at) AS newest_at FROM slipway.%I', v_table) INTO v_sum;
    IF v_sum.events <> p_events THEN
        RAISE EXCEPTION 'the partition from % on has % events, and the file %', p_first, v_sum.events, p_events;
    END IF;
    EXECUTE format('SELECT epoch, tx, pos FROM slipway.%I ORDER BY epoch DESC, tx DESC, pos DESC LIMIT 1', v_table) INTO v_last;
    LOCK TABLE slipway.event IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE slipway.event DETACH PARTITION slipway.%I', v_table);
    EXECUTE format('DROP TABLE slipway.%I', v_table);
    UPDATE slipway.partition p SET
        archived_at = clock_timestamp(), file = p_file, events = p_events, digest = p_digest,
        upto_pos = CASE WHEN (v_last.epoch, v_last.tx) = (p.upto_epoch, p.upto_tx) THEN v_last.pos
                        ELSE coalesce((SELECT max(b.upto_pos) FROM slipway.partition b
                                        WHERE (b.upto_epoch, b.upto_tx) = (p.upto_epoch, p.upto_tx)), 0) END,
        newest_at = greatest(v_sum.newest_at, (SELECT max(b.newest_at) FROM slipway.partition b))
     WHERE p.first = p_first;
END $$;

-- Begins to put a partition together anew.
CREATE FUNCTION slipway.stage_partition(p_first bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS slipway_archive.%I', 'event_' || p_first);
    PERFORM slipway.new_event_table('slipway_archive', 'event_' || p_first);
END $$;

CREATE FUNCTION slipway.stage_events(p_first bigint, p_events jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO slipway_archive.%I SELECT e.* FROM jsonb_populate_recordset(NULL::slipway.event, $1) e',
                   'event_' || p_first) USING p_events;
END $$;

-- The first event of a partition that was put together whose hash does not come after that of the one before it, which may be in
-- an older partition.
CREATE FUNCTION slipway.staged_flaw(p_first bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_flaw text;
BEGIN
    EXECUTE format($query$
        WITH base AS (
            SELECT DISTINCT ON (a.stream_id) a.stream_id, a.version, a.hash FROM slipway.archived_stream a
             WHERE a.partition < $1 ORDER BY a.stream_id, a.version DESC
        ), chained AS (
            SELECT e.*, coalesce(lag(e.hash) OVER stream, b.hash, ''::bytea) AS hash_before,
                   coalesce(lag(e.version) OVER stream, b.version, 0) AS version_before
              FROM slipway_archive.%I e LEFT JOIN base b USING (stream_id)
            WINDOW stream AS (PARTITION BY e.stream_id ORDER BY e.version)
        )
        SELECT c.stream_id || ' version ' || c.version FROM chained c
         WHERE c.version <> c.version_before + 1
            OR c.hash <> slipway.event_hash(c.hash_before, c.stream_id, c.version, c.event_id, c.type, c.schema_version, c.data,
                                            c.actor, c.correlation_id, c.causation_id, c.recorded_at)
         ORDER BY c.stream_id, c.version LIMIT 1 $query$, 'event_' || p_first) INTO v_flaw USING p_first;
    RETURN v_flaw;
END $$;

-- Makes a partition that was put together part of the log again: the newest of those in the archive. Nobody waits.
CREATE FUNCTION slipway.attach_partition(p_first bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_table constant text := 'event_' || p_first;
    v_part  slipway.partition;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('slipway.partition', 0));
    SELECT * INTO v_part FROM slipway.partition p WHERE p.first = p_first;
    IF v_part.archived_at IS NULL
       OR EXISTS (SELECT FROM slipway.partition p WHERE p.first > p_first AND p.archived_at IS NOT NULL) THEN
        RAISE EXCEPTION 'the partition from % on is not the newest in the archive', p_first;
    END IF;
    EXECUTE format('ALTER TABLE slipway_archive.%I SET SCHEMA slipway', v_table);
    EXECUTE format('ALTER TABLE slipway.event ATTACH PARTITION slipway.%I FOR VALUES FROM (%s) TO (%s)',
                   v_table, v_part.first, v_part.until);
    UPDATE slipway.partition p
       SET archived_at = NULL, file = NULL, events = NULL, digest = NULL, upto_pos = NULL, newest_at = NULL
     WHERE p.first = p_first;
    DELETE FROM slipway.archived_stream a WHERE a.partition = p_first;
END $$;

SELECT slipway.grant_roles();
