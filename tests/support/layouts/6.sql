-- The tables of layout 6, as the last release with it made them: launches are part of deployments.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE deployments (
    id          INTEGER PRIMARY KEY,
    model       TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    desired     TEXT NOT NULL CHECK (desired IN ('running', 'stopped')),
    state       TEXT NOT NULL CHECK (state IN
        ('pending', 'starting', 'ready', 'stopping', 'parked', 'stopped', 'failed')),
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
    parking     INTEGER NOT NULL DEFAULT 0,
    session     TEXT,
    memory      INTEGER,
    renewed_at  TEXT,
    proven      INTEGER NOT NULL DEFAULT 0,
    kills       INTEGER NOT NULL DEFAULT 0,
    merging     TEXT,
    deployed_by TEXT,
    UNIQUE (model, version),
    CHECK ((launch_id IS NOT NULL) = (state IN ('starting', 'ready', 'stopping'))),
    CHECK ((step IS NOT NULL) = (state = 'stopping')),
    CHECK (NOT parking OR state = 'stopping')
) STRICT;

CREATE TABLE replacements (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    deployment_id INTEGER NOT NULL UNIQUE REFERENCES deployments (id) ON DELETE CASCADE,
    state         TEXT NOT NULL CHECK (state IN ('pending', 'starting', 'stopping', 'retiring', 'failed')),
    strategy      TEXT NOT NULL CHECK (strategy IN ('beside', 'recreate')),
    options       TEXT NOT NULL,
    artifact      TEXT NOT NULL,
    launch_id     TEXT UNIQUE,
    handle        TEXT,
    port          INTEGER,
    session       TEXT,
    step          TEXT CHECK (step IN ('drain', 'terminate', 'kill')),
    deadline      REAL,
    reason        TEXT NOT NULL,
    purpose       TEXT NOT NULL,
    since         TEXT NOT NULL,
    CHECK ((launch_id IS NOT NULL) = (state IN ('starting', 'stopping', 'retiring'))),
    CHECK ((launch_id IS NOT NULL) = (port IS NOT NULL)),
    CHECK ((step IS NOT NULL) = (state IN ('stopping', 'retiring')))
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

CREATE TABLE endpoints (
    id             INTEGER PRIMARY KEY,
    model          TEXT NOT NULL,
    alias          TEXT NOT NULL,
    policy         TEXT NOT NULL,
    champion       INTEGER,
    champion_since TEXT,
    previous       INTEGER,
    previous_until TEXT,
    alias_version  INTEGER,
    notice         TEXT NOT NULL DEFAULT '',
    default_at     TEXT,
    deleting       INTEGER NOT NULL DEFAULT 0,
    created_at     TEXT NOT NULL,
    UNIQUE (model, alias)
) STRICT;

CREATE TABLE rollouts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint_id INTEGER NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    candidate   INTEGER NOT NULL,
    champion    INTEGER,
    kind        TEXT NOT NULL CHECK (kind IN ('forward', 'back')),
    state       TEXT NOT NULL CHECK (state IN ('deploying', 'checking', 'replaying', 'shadowing',
        'canary', 'promoted', 'rolled_back', 'superseded')),
    step        INTEGER NOT NULL DEFAULT 0,
    "order"     TEXT NOT NULL CHECK ("order" IN ('advance', 'pause', 'promote', 'roll_back')),
    reason      TEXT NOT NULL,
    evidence    TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    since       TEXT NOT NULL,
    ended_at    TEXT,
    CHECK ((ended_at IS NULL) = (state IN ('deploying', 'checking', 'replaying', 'shadowing', 'canary')))
) STRICT;

CREATE UNIQUE INDEX rollout_under_way ON rollouts (endpoint_id) WHERE ended_at IS NULL;

CREATE TABLE rollout_events (
    id          INTEGER PRIMARY KEY,
    endpoint_id INTEGER NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    rollout_id  INTEGER,
    version     INTEGER,
    at          TEXT NOT NULL,
    previous    TEXT,
    state       TEXT,
    reason      TEXT NOT NULL
) STRICT;

CREATE INDEX events_of_endpoint ON rollout_events (endpoint_id, id);

CREATE TABLE endpoint_deployments (
    model   TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (model, version)
) STRICT;
