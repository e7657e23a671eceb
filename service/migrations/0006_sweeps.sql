INSERT INTO counters (name, value) VALUES ('sweep', 0);

-- What each run was made of, written when it is first taken up.
CREATE TABLE run_manifests (
    run_id BIGINT NOT NULL PRIMARY KEY REFERENCES runs (id),
    -- JSON; none as long as a run that is to reproduce another one waits.
    manifest TEXT,
    -- The run whose manifest it was started from.
    reproduces BIGINT REFERENCES runs (id)
);

-- Hashes of large files, so that each is read once: as long as length and time are the same, so is the hash.
CREATE TABLE file_hashes (
    path TEXT NOT NULL PRIMARY KEY,
    bytes BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    hash TEXT NOT NULL
);

-- Runs that belong together: a search over knobs, or one recipe with several seeds.
CREATE TABLE sweeps (
    id BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    dataset_id BIGINT NOT NULL REFERENCES datasets (id),
    -- JSON: the whole of what the person asked for.
    request TEXT NOT NULL,
    -- Rungs of a successive halving that have been decided.
    rungs_done BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX sweeps_by_status ON sweeps (status);

CREATE TABLE sweep_trials (
    sweep_id BIGINT NOT NULL REFERENCES sweeps (id),
    -- From 0, in the order of the plan.
    place BIGINT NOT NULL,
    run_id BIGINT NOT NULL UNIQUE REFERENCES runs (id),
    -- The rung, counted from 0, at which the run pauses; none: it goes to its end.
    pause_at BIGINT,
    -- The rung, counted from 1, at which it was stopped for good, and why, if not for its score.
    dropped_at BIGINT,
    note TEXT,
    -- 1 from the decision that it goes on until it has been put back into the queue.
    goes_on BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, place)
);

-- What the run is called where it is tracked elsewhere.
CREATE TABLE run_tracking (
    run_id BIGINT NOT NULL PRIMARY KEY REFERENCES runs (id),
    mlflow_run TEXT NOT NULL
);

-- The last look at the validation rows, and what the best one found: what a successive halving decides by.
ALTER TABLE runs ADD COLUMN looked_step BIGINT;
ALTER TABLE runs ADD COLUMN looked_epoch DOUBLE PRECISION;
ALTER TABLE runs ADD COLUMN validation_macro_f1 DOUBLE PRECISION;
ALTER TABLE runs ADD COLUMN validation_loss DOUBLE PRECISION;
