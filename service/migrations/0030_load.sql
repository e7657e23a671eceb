-- What a run's events up to one of them add up to, thinned, so that a page about a long run reads only those that came
-- after. A shortcut: it can be thrown away at any time and is made again from the events.
CREATE TABLE run_pictures (
    run_id BIGINT NOT NULL PRIMARY KEY,
    last_seq BIGINT NOT NULL,
    -- JSON
    picture TEXT NOT NULL
);

-- The runs of a dataset and the finished ones, newest first, without reading all of them.
CREATE INDEX runs_by_dataset ON runs (dataset_id, id);
CREATE INDEX runs_by_status_and_age ON runs (status, id);
