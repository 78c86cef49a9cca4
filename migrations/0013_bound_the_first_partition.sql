-- The log is to be partitioned by position (0015): what there is becomes the first partition, as it stands. That takes a bound,
-- which nothing written from now on may cross: a log in use gets room for a million events until 0015 has made the next one.
-- ARCHITECTURE.md, "The log in partitions", argues each point.
LOCK TABLE slipway.event IN ACCESS EXCLUSIVE MODE;
DO $$
DECLARE
    v_last constant bigint := coalesce(pg_sequence_last_value(pg_get_serial_sequence('slipway.event', 'pos')), 0);
BEGIN
    EXECUTE format('ALTER TABLE slipway.event ADD CONSTRAINT event_partition CHECK (pos < %s) NOT VALID',
                   (CASE v_last WHEN 0 THEN 1 ELSE v_last / 1000000 + 2 END) * 1000000 + 1);
END $$;
