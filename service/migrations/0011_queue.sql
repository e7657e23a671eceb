-- high, normal or low
ALTER TABLE runs ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal';
-- Who started it, so that the people take turns; empty: nobody in particular.
ALTER TABLE runs ADD COLUMN started_by TEXT NOT NULL DEFAULT '';
-- Why it is not taken up though its turn has come, and until when it is not looked at again.
ALTER TABLE runs ADD COLUMN held_up TEXT;
ALTER TABLE runs ADD COLUMN held_until_ms BIGINT;
