-- Names that programs ask, and the versions that answer under them. A version is written as `run-3` or `model-4`.
CREATE TABLE deployments (
    name TEXT NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    -- What is tried out on so many percent of the requests, if anything.
    canary TEXT,
    canary_percent BIGINT,
    created_at_ms BIGINT NOT NULL
);

-- The history. Nothing in it is ever changed.
CREATE TABLE deployment_moves (
    deployment TEXT NOT NULL REFERENCES deployments (name),
    -- From 1 within the deployment, without gaps.
    number BIGINT NOT NULL,
    -- JSON.
    action TEXT NOT NULL,
    version TEXT NOT NULL,
    made_by TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (deployment, number)
);

-- Links to pages for everybody.
CREATE TABLE demos (
    token TEXT NOT NULL PRIMARY KEY,
    deployment TEXT NOT NULL REFERENCES deployments (name),
    -- JSON.
    brand TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    revoked_at_ms BIGINT
);
CREATE INDEX demos_by_deployment ON demos (deployment, created_at_ms);
