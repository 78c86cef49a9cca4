-- Appends that began before 0019 have ended, or wait behind this. Dropping a trigger alone locks the partitions first, and whoever
-- appends or reads meanwhile locks the log first.
LOCK TABLE slipway.event IN ACCESS EXCLUSIVE MODE;
DROP TRIGGER event_admits ON slipway.event;
DROP FUNCTION slipway.admit();
