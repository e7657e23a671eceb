-- How often the process that was at a run died, or its engine broke, since the last checkpoint.
ALTER TABLE runs ADD COLUMN crashes BIGINT NOT NULL DEFAULT 0;
