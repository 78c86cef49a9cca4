-- The key of 0022. Appends that began before that ask for the old one: this waits for them, and others wait here until there is the new one.
LOCK TABLE slipway.installation IN ACCESS EXCLUSIVE MODE;
ALTER TABLE slipway.work DROP CONSTRAINT work_pkey, ADD PRIMARY KEY (stream_id, lease_token);
