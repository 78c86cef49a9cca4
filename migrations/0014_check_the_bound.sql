-- By itself: it reads the whole log once, and appends go on meanwhile. Readers wait to the end of it.
ALTER TABLE slipway.event VALIDATE CONSTRAINT event_partition;
