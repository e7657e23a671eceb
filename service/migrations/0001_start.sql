-- TEXT, BIGINT and DOUBLE PRECISION only, so that SQLite and PostgreSQL read this alike.

-- Numbers that are given out once and never again, by what they number.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('dataset', 0), ('run', 0), ('queue', 0);

-- Single facts, such as that the sample has been imported.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE datasets (
    id BIGINT NOT NULL PRIMARY KEY,
    -- The upload it came from: one upload becomes one dataset, however often it is confirmed.
    upload TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    file_name TEXT NOT NULL,
    text_column TEXT NOT NULL,
    label_column TEXT NOT NULL,
    row_count BIGINT NOT NULL,
    rejected_count BIGINT NOT NULL,
    -- JSON: the counts per label, most frequent first.
    labels TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- The runs are the queue, too: the queued one with the lowest queue_order comes next.
CREATE TABLE runs (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    queue_order BIGINT NOT NULL,
    dataset_id BIGINT NOT NULL REFERENCES datasets (id),
    base_model TEXT NOT NULL,
    -- JSON: the whole of what the person asked for.
    request TEXT NOT NULL,
    -- JSON: the labels in the order of the classifier's probabilities.
    labels TEXT NOT NULL,
    train_rows BIGINT NOT NULL,
    validation_rows BIGINT NOT NULL,
    test_rows BIGINT NOT NULL,
    progress DOUBLE PRECISION NOT NULL,
    accuracy_before DOUBLE PRECISION,
    accuracy_after DOUBLE PRECISION,
    macro_f1_after DOUBLE PRECISION,
    failure TEXT,
    created_at_ms BIGINT NOT NULL,
    started_at_ms BIGINT,
    ended_at_ms BIGINT
);
CREATE INDEX runs_by_status ON runs (status, queue_order);

CREATE TABLE run_events (
    run_id BIGINT NOT NULL REFERENCES runs (id),
    -- From 1 within the run, without gaps.
    seq BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
);
