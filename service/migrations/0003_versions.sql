-- The newest version; 0 in a dataset that was made before there were versions, until the next start has converted it.
ALTER TABLE datasets ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- Immutable, but for what an examination says of them. The rows are in files: see service/src/datasets/versions.rs.
CREATE TABLE dataset_versions (
    dataset_id BIGINT NOT NULL REFERENCES datasets (id),
    -- From 1 within the dataset, without gaps.
    number BIGINT NOT NULL,
    -- SHA-256 over the rows, in hexadecimal digits.
    hash TEXT NOT NULL,
    -- The version that it was made from; none for the first.
    parent BIGINT,
    -- JSON: what was done.
    cause TEXT NOT NULL,
    made_by TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    -- Rows, against the parent.
    added BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    relabelled BIGINT NOT NULL,
    rewritten BIGINT NOT NULL,
    -- JSON: the counts per label, most frequent first.
    labels TEXT NOT NULL,
    -- How many of the dataset's files it reads.
    segments BIGINT NOT NULL,
    -- The upload that was added with it, if any: one upload is taken in once, however often it is confirmed.
    upload TEXT UNIQUE,
    -- What its examination came to, once it is done.
    verdict TEXT,
    PRIMARY KEY (dataset_id, number)
);

-- Runs made before there were versions read the first one.
ALTER TABLE runs ADD COLUMN dataset_version BIGINT NOT NULL DEFAULT 1;
