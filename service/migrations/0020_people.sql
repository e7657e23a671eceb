-- Who may do what. Of tokens, links and keys only the SHA-256 is stored, of passwords only an argon2id hash.

-- One for now; all that was there before belongs to it.
CREATE TABLE workspaces (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
);
INSERT INTO workspaces (id, name) VALUES (1, 'Team');
ALTER TABLE datasets ADD COLUMN workspace_id BIGINT NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN workspace_id BIGINT NOT NULL DEFAULT 1;

CREATE TABLE people (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- In small letters. NULL: has been removed; the name stays for what they did.
    email TEXT UNIQUE,
    password_hash TEXT,
    created_at_ms BIGINT NOT NULL
);

CREATE TABLE memberships (
    person_id BIGINT NOT NULL REFERENCES people (id),
    workspace_id BIGINT NOT NULL REFERENCES workspaces (id),
    -- viewer, editor or administrator
    role TEXT NOT NULL,
    PRIMARY KEY (person_id, workspace_id)
);

CREATE TABLE sessions (
    id BIGINT NOT NULL PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    person_id BIGINT NOT NULL REFERENCES people (id),
    browser TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    -- To the hour.
    used_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX sessions_by_person ON sessions (person_id);

-- Links that make the first administrator (without a person), or set a new password of a person.
CREATE TABLE one_time_links (
    token_hash TEXT NOT NULL PRIMARY KEY,
    person_id BIGINT REFERENCES people (id),
    expires_at_ms BIGINT NOT NULL
);

CREATE TABLE invitations (
    id BIGINT NOT NULL PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    workspace_id BIGINT NOT NULL REFERENCES workspaces (id),
    role TEXT NOT NULL,
    invited_by TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id BIGINT NOT NULL PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    -- Its first letters, by which people tell it from others.
    hint TEXT NOT NULL,
    name TEXT NOT NULL,
    -- JSON: a list of classify, read, train.
    scopes TEXT NOT NULL,
    -- NULL: made when the server asked nobody for their name.
    person_id BIGINT REFERENCES people (id),
    workspace_id BIGINT NOT NULL REFERENCES workspaces (id),
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    -- To the minute.
    used_at_ms BIGINT
);

-- Tries to sign in that have failed, by the hash of the address that was typed, whether it is anybody's or not.
CREATE TABLE sign_in_tries (
    account_hash TEXT NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at_ms BIGINT NOT NULL,
    blocked_until_ms BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('person', 0), ('session', 0), ('invitation', 0), ('api_key', 0);
