INSERT INTO counters (name, value) VALUES ('frozen_test', 0), ('label_check', 0);

-- JSON: what the test rows are worth; none in runs made before that was looked at.
ALTER TABLE runs ADD COLUMN cleanliness TEXT;
-- JSON: versions of all datasets that the run reads, and the frozen test set; none in runs made before there were versions.
ALTER TABLE runs ADD COLUMN pins TEXT;

-- Test sets that datasets keep from version to version. One that is given up stays for the runs that were tested on it.
CREATE TABLE frozen_tests (
    id BIGINT NOT NULL PRIMARY KEY,
    dataset_id BIGINT NOT NULL REFERENCES datasets (id),
    -- What it was taken from.
    version BIGINT NOT NULL,
    -- JSON.
    split TEXT NOT NULL,
    -- JSON: the ids of the rows, ascending.
    row_ids TEXT NOT NULL,
    made_by TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    given_up_at_ms BIGINT
);
CREATE UNIQUE INDEX frozen_tests_in_force ON frozen_tests (dataset_id) WHERE given_up_at_ms IS NULL;

-- Cross-validations that look for wrong labels.
CREATE TABLE label_checks (
    id BIGINT NOT NULL PRIMARY KEY,
    dataset_id BIGINT NOT NULL REFERENCES datasets (id),
    version BIGINT NOT NULL,
    status TEXT NOT NULL,
    -- JSON: the numbers of its runs, one per fold.
    runs TEXT NOT NULL,
    -- Rows that were judged, and those of them whose label the models agree with.
    judged BIGINT NOT NULL,
    agreeing BIGINT NOT NULL,
    -- Of the decisions: rows that were changed meanwhile and left as they are; and the version that the others made.
    skipped BIGINT NOT NULL,
    applied_version BIGINT,
    made_by TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX label_checks_by_dataset ON label_checks (dataset_id, id);

CREATE TABLE label_doubts (
    check_id BIGINT NOT NULL REFERENCES label_checks (id),
    -- The most doubtful has 0.
    place BIGINT NOT NULL,
    row_id BIGINT NOT NULL,
    suggested TEXT NOT NULL,
    p_given DOUBLE PRECISION NOT NULL,
    p_suggested DOUBLE PRECISION NOT NULL,
    -- JSON, once somebody has decided, and who.
    decision TEXT,
    decided_by TEXT,
    -- Who has it open, and until when that counts.
    held_by TEXT,
    held_until_ms BIGINT,
    PRIMARY KEY (check_id, place)
);
CREATE UNIQUE INDEX label_doubts_by_row ON label_doubts (check_id, row_id);
