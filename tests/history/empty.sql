-- Ends whoever is still at something, and takes away what a history has left.

DO $$
BEGIN
    -- Since PostgreSQL 14 pg_terminate_backend could wait itself.
    LOOP
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
            AND state <> 'idle';
        EXIT WHEN NOT FOUND OR clock_timestamp() > now() + interval '10 seconds';
        PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
    END LOOP;
END $$;
ALTER TABLE slipway.event DISABLE TRIGGER event_is_immutable;
DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('slipway', 'witness') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND c.relname NOT IN ('partition', 'installation', 'admission', 'setting', 'route_event', 'posted_route', 'erasure')
    LOOP
        EXECUTE format('DELETE FROM %s', v_table);
    END LOOP;
END $$;
ALTER TABLE slipway.event ENABLE ALWAYS TRIGGER event_is_immutable;
UPDATE witness.setting SET slow = 0;
