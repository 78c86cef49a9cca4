-- The one way into the log: events, read model, limits, idempotency and wanted work in one call,
-- hence one transaction and one round trip.
--
-- Errors: SW409 the stream has moved on; SW422 the key was used for another request; SW429 a limit
-- (its name in the message); 40001 try again in a new transaction.
CREATE FUNCTION slipway.append(
    p_stream text, p_expected bigint,
    p_actor text, p_correlation uuid, p_causation uuid,
    p_ids uuid[], p_types text[], p_schema smallint, p_data jsonb[],
    p_state jsonb, p_status text, p_owner text, p_live boolean, p_workers integer, -- the cluster afterwards
    p_wake boolean,
    p_more_clusters integer, p_most_clusters integer,  -- by so many more, up to so many of this owner
    p_more_workers integer, p_most_workers integer,    -- by so many more, up to so many of everyone
    p_key text, p_fingerprint bytea,
    OUT version bigint, OUT recorded_at timestamptz, OUT answered_by text
) LANGUAGE plpgsql AS $$
DECLARE
    v_tx      xid8;
    v_head    record;
    v_hash    bytea;
    v_now     timestamptz;
    v_print   bytea;
    v_usage   integer;
    v_count   constant integer := cardinality(p_types);
    v_ready   constant boolean := 'BecameReady' = ANY (p_types);
    v_ended   constant boolean := p_types && '{LaunchFailed,StopRequested}';
    v_gone    constant boolean := 'Removed' = ANY (p_types);
BEGIN
    -- Takes no transaction id, so that whoever waits here gets a later one than whom it waited for:
    -- ids then grow along the stream, and the log's order is the stream's.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_stream, 0));

    IF p_key IS NOT NULL THEN
        INSERT INTO slipway.request (actor, key, fingerprint, stream_id)
        VALUES (p_actor, p_key, p_fingerprint, p_stream) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT r.fingerprint, r.stream_id INTO v_print, answered_by
              FROM slipway.request r WHERE r.actor = p_actor AND r.key = p_key;
            IF v_print <> p_fingerprint THEN
                RAISE EXCEPTION 'the idempotency key was used for another request' USING ERRCODE = 'SW422';
            END IF;
            RETURN;
        END IF;
    END IF;

    v_tx := pg_current_xact_id();
    -- The lock taken above keeps this row as it is until the commit.
    SELECT i.epoch, s.version, s.last_tx, s.last_hash INTO v_head
      FROM slipway.installation i LEFT JOIN slipway.stream s ON s.stream_id = p_stream;
    IF coalesce(v_head.version, 0) <> p_expected THEN
        RAISE EXCEPTION 'stream % is not at version %', p_stream, p_expected USING ERRCODE = 'SW409';
    END IF;
    IF v_head.last_tx > v_tx THEN
        RAISE EXCEPTION 'this transaction is older than the last append' USING ERRCODE = '40001';
    END IF;

    v_now := clock_timestamp();
    v_hash := coalesce(v_head.last_hash, '');
    FOR i IN 1 .. v_count LOOP
        v_hash := slipway.event_hash(v_hash, p_stream, p_expected + i, p_ids[i], p_types[i], p_schema, p_data[i],
                                     p_actor, p_correlation, p_causation, v_now);
        INSERT INTO slipway.event (epoch, tx, stream_id, version, event_id, type, schema_version, data, actor,
                                   correlation_id, causation_id, recorded_at, hash)
        VALUES (v_head.epoch, v_tx, p_stream, p_expected + i, p_ids[i], p_types[i], p_schema, p_data[i], p_actor,
                p_correlation, p_causation, v_now, v_hash);
    END LOOP;
    version := p_expected + v_count;
    recorded_at := v_now;

    IF p_expected = 0 THEN
        INSERT INTO slipway.stream VALUES (p_stream, append.version, v_tx, v_hash);
        INSERT INTO slipway.cluster
            (id, version, owner, status, live, workers_wanted, state, launched_at, ready_at, routed_at, ended_at, gone_at)
        VALUES (p_stream, append.version, p_owner, p_status, p_live, p_workers, p_state, v_now,
                CASE WHEN v_ready THEN v_now END, CASE WHEN v_ready THEN v_now END,
                CASE WHEN v_ended THEN v_now END, CASE WHEN v_gone THEN v_now END);
    ELSE
        UPDATE slipway.stream s SET version = append.version, last_tx = v_tx, last_hash = v_hash
         WHERE s.stream_id = p_stream;
        UPDATE slipway.cluster c SET
            version = append.version, status = p_status, live = p_live, workers_wanted = p_workers, state = p_state,
            ready_at = CASE WHEN v_ready THEN coalesce(c.ready_at, v_now) ELSE c.ready_at END,
            routed_at = CASE WHEN v_ready THEN v_now ELSE c.routed_at END,
            ended_at = CASE WHEN v_ended THEN coalesce(c.ended_at, v_now) ELSE c.ended_at END,
            gone_at = CASE WHEN v_gone THEN coalesce(c.gone_at, v_now) ELSE c.gone_at END
         WHERE c.id = p_stream;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the read model of % is missing: run slipway replay', p_stream;
        END IF;
    END IF;

    -- Always the owner's row, then everyone's: one order of locks, no deadlock.
    IF p_more_clusters <> 0 OR p_more_workers <> 0 THEN
        INSERT INTO slipway.usage AS u VALUES (p_owner, p_more_clusters, p_more_workers)
        ON CONFLICT (owner) DO UPDATE SET clusters = u.clusters + p_more_clusters, workers = u.workers + p_more_workers
        RETURNING u.clusters INTO v_usage;
        IF p_more_clusters > 0 AND v_usage > p_most_clusters THEN
            RAISE EXCEPTION 'clusters_per_owner' USING ERRCODE = 'SW429';
        END IF;
        INSERT INTO slipway.usage AS u VALUES ('*', p_more_clusters, p_more_workers)
        ON CONFLICT (owner) DO UPDATE SET clusters = u.clusters + p_more_clusters, workers = u.workers + p_more_workers
        RETURNING u.workers INTO v_usage;
        IF p_more_workers > 0 AND v_usage > p_most_workers THEN
            RAISE EXCEPTION 'total_workers' USING ERRCODE = 'SW429';
        END IF;
    END IF;

    IF p_wake THEN
        UPDATE slipway.work w SET
            wanted_version = append.version, parked_at = NULL, attempt = 0,
            -- A leased row is seen to as soon as its holder finishes; until then due_at is its lease.
            due_at = CASE WHEN w.lease_owner IS NOT NULL THEN w.due_at
                          WHEN w.due_at <= v_now THEN w.due_at ELSE v_now END
         WHERE w.stream_id = p_stream;
        IF NOT FOUND THEN
            INSERT INTO slipway.work (stream_id, wanted_version) VALUES (p_stream, append.version);
        END IF;
    END IF;
END $$;
