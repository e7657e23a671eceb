INSERT INTO counters (name, value) VALUES ('model', 0), ('export', 0);

-- Models beside the one that the server was started with, which has the number 0 and no row. Those that wait are the
-- queue of downloads, in the order of their numbers.
CREATE TABLE models (
    id BIGINT NOT NULL PRIMARY KEY,
    -- An address on the Hub or a path, as it was checked.
    source TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    -- JSON: the whole of what the person asked for.
    request TEXT NOT NULL,
    -- Where it lies, once it is ready.
    path TEXT,
    commit_hash TEXT,
    -- JSON: what was found in its files, once it is ready.
    contents TEXT,
    total_bytes BIGINT NOT NULL,
    done_bytes BIGINT NOT NULL,
    failure TEXT,
    added_at_ms BIGINT NOT NULL
);

ALTER TABLE runs ADD COLUMN base_model_id BIGINT NOT NULL DEFAULT 0;

-- Those that wait are the queue, in the order of their numbers.
CREATE TABLE exports (
    id BIGINT NOT NULL PRIMARY KEY,
    run_id BIGINT NOT NULL REFERENCES runs (id),
    kind TEXT NOT NULL,
    merge_into TEXT NOT NULL,
    status TEXT NOT NULL,
    total_bytes BIGINT NOT NULL,
    -- JSON: names and sizes.
    files TEXT NOT NULL,
    -- JSON, once it has been checked.
    parity TEXT,
    failure TEXT,
    -- JSON: where to on the Hub, and how far, if anybody asked for that.
    push TEXT,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX exports_by_run ON exports (run_id, id);
