-- Who has read what a server then lost must not pass over what is recorded in its place: a new epoch begins when a standby is promoted,
-- when a server was recovered to an earlier time, and when a dump was restored, into another server or another database.
ALTER TABLE slipway.installation
    ADD COLUMN home     text NOT NULL DEFAULT '', -- the server and the database in it, of which a copy has another
    ADD COLUMN timeline text NOT NULL DEFAULT ''; -- of the server: one for each time that it went on from an earlier state of itself

CREATE FUNCTION slipway.place(OUT home text, OUT timeline text) LANGUAGE sql VOLATILE AS $$
    SELECT s.system_identifier || '/' || d.oid, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
      FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;

UPDATE slipway.installation SET (home, timeline) = (SELECT p.home, p.timeline FROM slipway.place() p);

CREATE OR REPLACE FUNCTION slipway.settle_epoch() RETURNS smallint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_was  slipway.installation;
    v_is   record;
    v_copy boolean;
BEGIN
    -- Before anything is read: who has read waits below for those who have.
    PERFORM pg_advisory_xact_lock(hashtextextended('slipway.settle_epoch', 0));
    SELECT * INTO v_is FROM slipway.place();
    SELECT * INTO v_was FROM slipway.installation;
    v_copy := v_was.home <> v_is.home
        -- A copy of before a log knew where it is.
        OR EXISTS (SELECT FROM slipway.event WHERE epoch = v_was.epoch AND tx > pg_current_xact_id())
        -- All that is newest may be in the archive.
        OR EXISTS (SELECT FROM slipway.partition WHERE upto_epoch = v_was.epoch AND upto_tx > pg_current_xact_id());
    IF v_copy THEN
        -- Somebody may append here already; what comes of an epoch that is over would be passed over.
        LOCK TABLE slipway.installation IN ACCESS EXCLUSIVE MODE;
        UPDATE slipway.installation SET epoch = v_was.epoch + 1, home = v_is.home, timeline = v_is.timeline RETURNING * INTO v_was;
        UPDATE slipway.stream SET last_tx = '0' WHERE last_tx > pg_current_xact_id();
    ELSIF v_was.timeline <> v_is.timeline THEN
        -- As many as there are timelines in between, of which this one may have received nothing.
        UPDATE slipway.installation
           SET epoch = v_was.epoch + greatest(1, ('x' || v_is.timeline)::bit(32)::integer - ('x' || v_was.timeline)::bit(32)::integer),
               timeline = v_is.timeline
        RETURNING * INTO v_was;
    END IF;
    RETURN v_was.epoch;
END $$;

-- For each new connection of whoever writes. A server that is promoted has no older ones that do, as none is let in before. A copy has to be
-- whole before its epoch is settled, which a start or `slipway migrate` tells.
CREATE FUNCTION slipway.enter() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM slipway.installation i, slipway.place() p WHERE i.home = p.home AND i.timeline <> p.timeline) THEN
        PERFORM slipway.settle_epoch();
    END IF;
END $$;

-- What each role may do, one row for each GRANT.
CREATE TABLE slipway.privilege (
    role    text NOT NULL,
    granted text NOT NULL,
    PRIMARY KEY (role, granted)
);
INSERT INTO slipway.privilege
SELECT 'slipway_writer', granted FROM unnest(ARRAY[
    'USAGE ON SCHEMA slipway',
    'SELECT ON slipway.installation, slipway.stream, slipway.event, slipway.route_event, slipway.erasure, slipway.partition, slipway.archived_stream',
    'SELECT, INSERT, UPDATE, DELETE ON slipway.cluster, slipway.usage, slipway.activity, slipway.leader, slipway.posted_route, slipway.pool',
    'SELECT, INSERT, UPDATE ON slipway.work, slipway.api_token',
    'SELECT, DELETE ON slipway.request, slipway.snapshot',
    'SELECT, UPDATE ON slipway.admission',
    'EXECUTE ON FUNCTION slipway.append, slipway.append_together, slipway.see, slipway.post_routes, slipway.settle_epoch, slipway.enter, '
    'slipway.claim, slipway.take, slipway.enqueue, slipway.enqueue_missing, slipway.prune_origins, slipway.in_line, slipway.admission_room, '
    'slipway.pool_room, slipway.is_claimable, slipway.admission_tokens, slipway.event_hash, slipway.route_event_hash, slipway.extend_log, '
    'slipway.log_from']) granted
UNION ALL
SELECT 'slipway_auditor', granted FROM unnest(ARRAY[
    'USAGE ON SCHEMA slipway',
    'SELECT ON slipway.launches, slipway.trail, slipway.people, slipway.worker_spans, slipway.worker_hours, slipway.changes, slipway.failures, '
    'slipway.pool, slipway.erasure, slipway.event, slipway.stream, slipway.cluster, slipway.installation, slipway.partition, '
    'slipway.archived_stream, slipway.snapshot',
    'EXECUTE ON FUNCTION slipway.log_from']) granted;

CREATE OR REPLACE FUNCTION slipway.grant_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_given record;
BEGIN
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA slipway FROM PUBLIC;
    FOR v_given IN
        SELECT p.role, p.granted FROM slipway.privilege p
        UNION ALL
        SELECT DISTINCT p.role, 'SELECT ON public._sqlx_migrations' FROM slipway.privilege p
         WHERE to_regclass('public._sqlx_migrations') IS NOT NULL
    LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = v_given.role) THEN
            EXECUTE format('GRANT %s TO %I', v_given.granted, v_given.role);
        END IF;
    END LOOP;
END $$;
SELECT slipway.grant_roles();
