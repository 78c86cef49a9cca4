-- Looks on in the database of a history, and notes what must never happen as it happens. Each connection says who it is in
-- slipway.who; the history itself says nothing.

CREATE SCHEMA witness;
CREATE TABLE witness.violation (what text NOT NULL);
CREATE TABLE witness.holder (stream_id text PRIMARY KEY, who text NOT NULL);
CREATE TABLE witness.setting (most_clusters integer NOT NULL, most_workers integer NOT NULL, at_once integer NOT NULL,
                              slow double precision NOT NULL);

CREATE FUNCTION witness.note(p_what text) RETURNS void LANGUAGE sql AS $$ INSERT INTO witness.violation VALUES (p_what) $$;

CREATE FUNCTION witness.work() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_who    constant text := coalesce(current_setting('slipway.who', true), '');
    v_holder text;
BEGIN
    IF v_who = '' THEN
        RETURN NULL;
    END IF;
    IF NEW.lease_owner IS NOT NULL AND NEW.attempt = OLD.attempt + 1 THEN
        IF OLD.lease_owner IS NOT NULL AND OLD.due_at > clock_timestamp() THEN
            PERFORM witness.note(format('%s took %s while it was leased', v_who, NEW.stream_id));
        END IF;
        INSERT INTO witness.holder VALUES (NEW.stream_id, v_who) ON CONFLICT (stream_id) DO UPDATE SET who = v_who;
    ELSIF OLD.lease_owner IS NOT NULL AND (NEW.lease_owner IS NULL OR NEW.due_at <> OLD.due_at) THEN
        SELECT who INTO v_holder FROM witness.holder h WHERE h.stream_id = NEW.stream_id;
        IF v_holder IS DISTINCT FROM v_who THEN
            PERFORM witness.note(format('%s settled %s, which was leased to %s', v_who, NEW.stream_id, v_holder));
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER witnessed AFTER UPDATE ON slipway.work FOR EACH ROW EXECUTE FUNCTION witness.work();

-- Under the lock of the row of usage, so that whoever came before is committed and seen.
CREATE FUNCTION witness.usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_setting witness.setting;
    v_clusters integer;
    v_workers  integer;
BEGIN
    SELECT * INTO v_setting FROM witness.setting;
    SELECT count(*), coalesce(sum(workers_wanted), 0) INTO v_clusters, v_workers
      FROM slipway.cluster WHERE live AND (owner = NEW.owner OR NEW.owner = '*');
    IF NEW.owner <> '*' AND v_clusters > v_setting.most_clusters THEN
        PERFORM witness.note(format('%s has %s clusters', NEW.owner, v_clusters));
    ELSIF NEW.owner = '*' AND v_workers > v_setting.most_workers THEN
        PERFORM witness.note(format('there are %s workers', v_workers));
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER witnessed AFTER INSERT OR UPDATE ON slipway.usage DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION witness.usage();

-- Under the lock of the row of admission; of the cluster itself the read model does not know yet.
CREATE FUNCTION witness.event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_setting witness.setting;
    v_others  integer;
    v_people  integer;
    v_stock   boolean;
BEGIN
    SELECT * INTO v_setting FROM witness.setting;
    IF NEW.type = 'Admitted' THEN
        SELECT owner LIKE 'pool:%' INTO v_stock FROM slipway.cluster WHERE id = NEW.stream_id;
        SELECT count(*), count(*) FILTER (WHERE owner NOT LIKE 'pool:%') INTO v_others, v_people FROM slipway.cluster
         WHERE status = 'launching' AND NOT slipway.in_line(state) AND id <> NEW.stream_id;
        -- What is launched for a pool is in nobody's way, and gives way to all.
        IF NOT v_stock THEN
            v_others := v_people;
        END IF;
        IF v_others >= v_setting.at_once THEN
            PERFORM witness.note(format('%s was admitted beside %s others', NEW.stream_id, v_others));
        END IF;
    END IF;
    IF v_setting.slow > 0 THEN
        PERFORM pg_sleep(random() * v_setting.slow);
    END IF;
    RETURN NULL;
END $$;
-- After slipway.admit, which takes the lock.
CREATE TRIGGER event_witnessed AFTER INSERT ON slipway.event FOR EACH ROW EXECUTE FUNCTION witness.event();
