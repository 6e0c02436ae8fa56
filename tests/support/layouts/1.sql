-- The tables of layout 1, as the release before parking made them.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE deployments (
    id          INTEGER PRIMARY KEY,
    model       TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    desired     TEXT NOT NULL CHECK (desired IN ('running', 'stopped')),
    state       TEXT NOT NULL CHECK
        (state IN ('pending', 'starting', 'ready', 'stopping', 'stopped', 'failed')),
    step        TEXT CHECK (step IN ('drain', 'terminate', 'kill')),
    options     TEXT NOT NULL,
    artifact    TEXT NOT NULL,
    launch_id   TEXT UNIQUE,
    handle      TEXT,
    port        INTEGER,
    tries       INTEGER NOT NULL DEFAULT 0,
    launches    INTEGER NOT NULL DEFAULT 0,
    not_before  REAL NOT NULL DEFAULT 0,
    deadline    REAL,
    ready_since REAL,
    ready_at    TEXT,
    created_at  TEXT NOT NULL,
    reason      TEXT NOT NULL DEFAULT '',
    UNIQUE (model, version),
    CHECK ((launch_id IS NOT NULL) = (state IN ('starting', 'ready', 'stopping'))),
    CHECK ((step IS NOT NULL) = (state = 'stopping'))
) STRICT;
CREATE TABLE ports (
    port              INTEGER PRIMARY KEY,
    launch_id         TEXT UNIQUE,
    quarantined_until REAL NOT NULL DEFAULT 0,
    blocked_until     REAL NOT NULL DEFAULT 0,
    blocked_by        TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE events (
    id            INTEGER PRIMARY KEY,
    deployment_id INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    at            TEXT NOT NULL,
    previous      TEXT,
    state         TEXT NOT NULL,
    launch_id     TEXT,
    reason        TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_deployment ON events (deployment_id, id);
