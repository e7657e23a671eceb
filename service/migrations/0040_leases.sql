-- The process that is at a run, by the word that it gave itself when it started, and until when it counts as alive.
ALTER TABLE runs ADD COLUMN lease_holder TEXT;
ALTER TABLE runs ADD COLUMN lease_until_ms BIGINT;
