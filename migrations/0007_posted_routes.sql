-- Routes that programs post by the API of configurable-http-proxy: one stream for all of them. Its appends wait for each
-- other, so that versions are committed in their order, and a reader needs to know nothing but the last one it has read.

CREATE TABLE slipway.route_event (
    version     bigint      PRIMARY KEY CHECK (version > 0),
    type        text        NOT NULL CHECK (type IN ('RoutePosted', 'RouteRemoved')),
    path        text        NOT NULL CHECK (path LIKE '/%' AND length(path) <= 2100),
    data        jsonb       CHECK ((data IS NULL) = (type = 'RouteRemoved')),
    recorded_at timestamptz NOT NULL,
    hash        bytea       NOT NULL
);
CREATE TRIGGER route_event_is_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON slipway.route_event
    FOR EACH STATEMENT EXECUTE FUNCTION slipway.refuse_change();
ALTER TABLE slipway.route_event ENABLE ALWAYS TRIGGER route_event_is_immutable;

-- The read model: what a proxy starts with. last_activity is a measurement, merged as a maximum.
CREATE TABLE slipway.posted_route (
    path          text        PRIMARY KEY,
    version       bigint      NOT NULL,
    data          jsonb       NOT NULL,
    last_activity timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE FUNCTION slipway.route_event_hash(
    p_before bytea, p_version bigint, p_type text, p_path text, p_data jsonb, p_recorded_at timestamptz
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(p_before || convert_to(concat_ws(E'\n', p_version, p_type, p_path,
        (extract(epoch FROM p_recorded_at) * 1000000)::bigint, coalesce(p_data::text, '-')), 'UTF8'))
$$;

-- Records all these changes, or none; gives the version of the last one. A route without data is removed.
CREATE FUNCTION slipway.post_routes(p_paths text[], p_data jsonb[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_count  constant integer := cardinality(p_paths);
    v_now    timestamptz;
    v_last   bigint;
    v_hash   bytea;
    v_hashes bytea[] := array_fill(''::bytea, ARRAY[v_count]);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('slipway.route_event', 0));
    SELECT e.version, e.hash INTO v_last, v_hash FROM slipway.route_event e ORDER BY e.version DESC LIMIT 1;
    v_last := coalesce(v_last, 0);
    v_hash := coalesce(v_hash, ''::bytea);
    v_now := clock_timestamp();
    FOR i IN 1 .. v_count LOOP
        v_hash := slipway.route_event_hash(v_hash, v_last + i,
            CASE WHEN p_data[i] IS NULL THEN 'RouteRemoved' ELSE 'RoutePosted' END, p_paths[i], p_data[i], v_now);
        v_hashes[i] := v_hash;
    END LOOP;
    INSERT INTO slipway.route_event (version, type, path, data, recorded_at, hash)
    SELECT v_last + c.i, CASE WHEN c.data IS NULL THEN 'RouteRemoved' ELSE 'RoutePosted' END, c.path, c.data, v_now, c.hash
      FROM unnest(p_paths, p_data, v_hashes) WITH ORDINALITY AS c (path, data, hash, i);
    -- Of several changes of one route the last holds.
    DELETE FROM slipway.posted_route r
     USING (SELECT DISTINCT ON (c.path) c.path, c.data FROM unnest(p_paths, p_data) WITH ORDINALITY AS c (path, data, i)
             ORDER BY c.path, c.i DESC) AS c
     WHERE r.path = c.path AND c.data IS NULL;
    INSERT INTO slipway.posted_route (path, version, data, last_activity)
    SELECT c.path, v_last + c.i, c.data, v_now
      FROM (SELECT DISTINCT ON (c.path) c.path, c.data, c.i
              FROM unnest(p_paths, p_data) WITH ORDINALITY AS c (path, data, i)
             ORDER BY c.path, c.i DESC) AS c
     WHERE c.data IS NOT NULL
        ON CONFLICT (path) DO UPDATE
       SET version = EXCLUDED.version, data = EXCLUDED.data, last_activity = EXCLUDED.last_activity;
    RETURN v_last + v_count;
END $$;
