-- As before (0015), but it seals in turn with those who detach and attach, and not beside them: each held what the other one waited for,
-- and one of them failed.
CREATE OR REPLACE FUNCTION slipway.extend_log(p_room bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Before this transaction has an id: whoever was given a position by then has an older one.
    v_fresh constant boolean := pg_current_xact_id_if_assigned() IS NULL;
    v_last  constant bigint := coalesce(pg_sequence_last_value('slipway.event_pos'::regclass), 0);
    v_epoch smallint;
    v_size  bigint;
    v_until bigint;
    v_full  boolean;
    v_made  integer := 0;
BEGIN
    SELECT i.epoch, i.events_per_partition INTO v_epoch, v_size FROM slipway.installation i;
    SELECT max(p.until), v_fresh AND coalesce(bool_or(p.until <= v_last + 1 AND p.upto_tx IS NULL), false) INTO v_until, v_full
      FROM slipway.partition p;
    IF NOT v_full AND v_until - 1 - v_last > greatest(p_room, v_size) THEN
        RETURN 0;
    END IF;
    -- Before it looks into the log, which whoever detaches a partition has to have alone once it holds this.
    PERFORM pg_advisory_xact_lock(hashtextextended('slipway.partition', 0));
    IF v_full THEN
        PERFORM slipway.seal_log(v_epoch, v_last);
    END IF;
    SELECT max(p.until) INTO v_until FROM slipway.partition p;
    WHILE v_until - 1 - v_last <= greatest(p_room, v_size) LOOP
        PERFORM slipway.new_event_table('slipway', 'event_' || v_until);
        EXECUTE format('ALTER TABLE slipway.event ATTACH PARTITION slipway.%I FOR VALUES FROM (%s) TO (%s)',
                       'event_' || v_until, v_until, v_until + v_size);
        INSERT INTO slipway.partition (first, until) VALUES (v_until, v_until + v_size);
        v_until := v_until + v_size;
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END $$;
