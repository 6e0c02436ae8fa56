-- The state database, and the only DDL of it. Opened by model_deployment/state/database.py alone.
--
-- Columns ending in _at are wall clock (ISO 8601, UTC), for people. not_before, deadline,
-- ready_since, quarantined_until and blocked_until are seconds of the monotonic clock: they outlive
-- a controller, but not a boot, so they are cleared when meta.boot_id has changed.

CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,      -- instance_id, boot_id, documents ("embedded": there is a documents.db),
                                 -- last_number:<name in lower case> of a removed project of devices
    value TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS deployments (
    id          INTEGER PRIMARY KEY,
    model       TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    -- what the API asked for
    desired     TEXT NOT NULL CHECK (desired IN ('running', 'stopped')),
    -- set exactly while no launch has the role 'serving'; see TRANSITIONS in
    -- model_deployment/core/deployment_lifecycle.py
    rest        TEXT CHECK (rest IN ('parked', 'stopped', 'failed')),
    rest_reason TEXT NOT NULL DEFAULT '',
    rest_tries  INTEGER NOT NULL DEFAULT 0,
    options     TEXT NOT NULL,   -- JSON
    artifact    TEXT NOT NULL,   -- folder of the cached artifacts
    generation  INTEGER NOT NULL DEFAULT 1,  -- of options and artifacts that only another launch can have
    replicas    INTEGER NOT NULL DEFAULT 1 CHECK (replicas > 0),  -- launches that are to serve now
    starts      INTEGER NOT NULL DEFAULT 0,  -- since it was last deployed
    created_at  TEXT NOT NULL,
    parking     TEXT NOT NULL DEFAULT '',    -- why its launches stop to be parked; empty if they do not
    memory      INTEGER,         -- bytes the processes of a launch took when they were last measured
    renewed_at  TEXT,            -- when it got other artifacts than it had: what is older is of another model
    proven      INTEGER NOT NULL DEFAULT 0,  -- it was ready since it was last deployed
    merging     TEXT,            -- JSON: rows of a merged call, at most, and why; NULL until it was ready
    deployed_by TEXT,            -- the user, or "endpoint <name>"
    UNIQUE (model, version),
    CHECK (parking = '' OR rest IS NULL)
) STRICT;

-- Starts of processes, from the wish for one to its end. A replica keeps its row from launch to launch.
-- See TRANSITIONS in model_deployment/core/launch_lifecycle.py.
CREATE TABLE IF NOT EXISTS launches (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    deployment_id INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    role          TEXT NOT NULL CHECK (role IN ('serving', 'coming', 'retiring')),
    state         TEXT NOT NULL CHECK (state IN ('pending', 'starting', 'ready', 'stopping')),
    replica       INTEGER NOT NULL CHECK (replica >= 0),
    options       TEXT NOT NULL,   -- JSON, of this launch
    artifact      TEXT NOT NULL,
    generation    INTEGER NOT NULL,
    since         TEXT NOT NULL,   -- when it entered its state
    reason        TEXT NOT NULL,
    step          TEXT CHECK (step IN ('drain', 'terminate', 'kill')),
    launch_id     TEXT UNIQUE,
    handle        TEXT,            -- JSON, understood by the runtime; NULL between lease and start
    port          INTEGER UNIQUE,  -- a pending launch may have one that the runtime holds for it
    session       TEXT,            -- the first launch that was ready at this port
    tries         INTEGER NOT NULL DEFAULT 0,
    kills         INTEGER NOT NULL DEFAULT 0,  -- ends in a row that came from outside
    not_before    REAL NOT NULL DEFAULT 0,
    deadline      REAL,
    ready_since   REAL,
    ready_at      TEXT,
    started       INTEGER NOT NULL DEFAULT 0,  -- another launch was in its place before
    -- processes may exist exactly while the state says so
    CHECK ((launch_id IS NOT NULL) = (state IN ('starting', 'ready', 'stopping'))),
    CHECK ((step IS NOT NULL) = (state = 'stopping')),
    CHECK (role != 'coming' OR state != 'ready'),
    CHECK (role != 'retiring' OR state = 'stopping')
) STRICT;

CREATE INDEX IF NOT EXISTS launches_of_deployment ON launches (deployment_id);
CREATE UNIQUE INDEX IF NOT EXISTS replica_of_deployment ON launches (deployment_id, replica)
    WHERE role = 'serving';
CREATE UNIQUE INDEX IF NOT EXISTS coming_of_deployment ON launches (deployment_id) WHERE role = 'coming';

-- A change of options or a restart, until all replicas have it: its launch has the role 'coming' until it
-- serves. See TRANSITIONS in model_deployment/core/replacement.py.
CREATE TABLE IF NOT EXISTS replacements (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    deployment_id INTEGER NOT NULL UNIQUE REFERENCES deployments (id) ON DELETE CASCADE,
    state         TEXT NOT NULL CHECK (state IN ('coming', 'rolling', 'failed')),
    strategy      TEXT NOT NULL CHECK (strategy IN ('beside', 'recreate')),
    options       TEXT NOT NULL,   -- JSON, of the new launches
    deadline      REAL,            -- when it is given up unless its launch was started
    reason        TEXT NOT NULL,
    purpose       TEXT NOT NULL,   -- what was asked for, and by whom
    since         TEXT NOT NULL    -- when it entered its state
) STRICT;

CREATE TABLE IF NOT EXISTS ports (
    port              INTEGER PRIMARY KEY,
    launch_id         TEXT UNIQUE,                  -- leased by; kept after it for the deployment's next one
    quarantined_until REAL NOT NULL DEFAULT 0,      -- released a moment ago
    blocked_until     REAL NOT NULL DEFAULT 0,      -- a stranger listens here; looked at again then
    blocked_by        TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE IF NOT EXISTS events (
    id            INTEGER PRIMARY KEY,
    deployment_id INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    at            TEXT NOT NULL,
    previous      TEXT,
    state         TEXT NOT NULL,
    launch_id     TEXT,
    replica       INTEGER,
    reason        TEXT NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS events_of_deployment ON events (deployment_id, id);

-- An endpoint is a stable address that follows an alias. Versions are those of its model.
CREATE TABLE IF NOT EXISTS endpoints (
    id             INTEGER PRIMARY KEY,
    model          TEXT NOT NULL,
    alias          TEXT NOT NULL,
    policy         TEXT NOT NULL,    -- JSON
    champion       INTEGER,          -- the version that serves
    champion_since TEXT,
    previous       INTEGER,          -- the champion before
    previous_until TEXT,             -- it is kept ready until then
    alias_version  INTEGER,          -- what the alias named when it was looked at last
    notice         TEXT NOT NULL DEFAULT '',
    default_at     TEXT,             -- the newest one of a model is its default endpoint
    deleting       INTEGER NOT NULL DEFAULT 0,
    created_at     TEXT NOT NULL,
    UNIQUE (model, alias)
) STRICT;

CREATE TABLE IF NOT EXISTS rollouts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- proxies and captures know it
    endpoint_id INTEGER NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    candidate   INTEGER NOT NULL,
    champion    INTEGER,             -- what the candidate is compared with
    kind        TEXT NOT NULL CHECK (kind IN ('forward', 'back')),
    -- see TRANSITIONS in model_deployment/core/rollouts.py
    state       TEXT NOT NULL CHECK (state IN ('deploying', 'checking', 'replaying', 'shadowing',
        'canary', 'promoted', 'rolled_back', 'superseded')),
    step        INTEGER NOT NULL DEFAULT 0,
    -- what an operator asked for
    "order"     TEXT NOT NULL CHECK ("order" IN ('advance', 'pause', 'promote', 'roll_back')),
    reason      TEXT NOT NULL,
    evidence    TEXT NOT NULL,       -- JSON
    started_at  TEXT NOT NULL,
    since       TEXT NOT NULL,       -- when it entered its state or step
    ended_at    TEXT,
    CHECK ((ended_at IS NULL) = (state IN ('deploying', 'checking', 'replaying', 'shadowing', 'canary')))
) STRICT;

-- An endpoint has one rollout under way at most.
CREATE UNIQUE INDEX IF NOT EXISTS rollout_under_way ON rollouts (endpoint_id) WHERE ended_at IS NULL;

CREATE TABLE IF NOT EXISTS rollout_events (
    id          INTEGER PRIMARY KEY,
    endpoint_id INTEGER NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    rollout_id  INTEGER,
    version     INTEGER,
    at          TEXT NOT NULL,
    previous    TEXT,
    state       TEXT,
    reason      TEXT NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS events_of_endpoint ON rollout_events (endpoint_id, id);

-- Deployments that endpoints, and nobody else, asked for. They are undeployed when no endpoint uses them.
CREATE TABLE IF NOT EXISTS endpoint_deployments (
    model   TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (model, version)
) STRICT;

-- Devices at the edge. A project groups models and the devices that run them.
CREATE TABLE IF NOT EXISTS device_projects (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE COLLATE NOCASE,
    models     TEXT NOT NULL,            -- JSON: names of registered models
    follows    TEXT,                     -- the endpoint whose champion becomes a release
    policy     TEXT,                     -- JSON: of the releases that follow it
    created_at TEXT NOT NULL,
    last_number INTEGER NOT NULL DEFAULT 0 -- of its releases; a restore raises it
) STRICT;

-- Codes that let one device register, as SHA-256.
CREATE TABLE IF NOT EXISTS enrolments (
    id         INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES device_projects (id) ON DELETE CASCADE,
    code_hash  TEXT NOT NULL UNIQUE,
    groups     TEXT NOT NULL,            -- JSON
    device     TEXT,                     -- the only name that it may take
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at    TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS devices (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id   INTEGER NOT NULL REFERENCES device_projects (id) ON DELETE CASCADE,
    name         TEXT NOT NULL COLLATE NOCASE,
    token_hash   TEXT NOT NULL UNIQUE,   -- SHA-256 of 256 random bits
    groups       TEXT NOT NULL,          -- JSON
    attributes   TEXT NOT NULL,          -- JSON
    created_at   TEXT NOT NULL,
    revoked_at   TEXT,
    last_seen_at TEXT,                   -- when anything last came of it
    agent        TEXT NOT NULL DEFAULT '',
    stream       TEXT NOT NULL DEFAULT '',   -- names its store of unsent messages
    received     INTEGER NOT NULL DEFAULT 0, -- number of the last stored message of the stream
    generation   INTEGER NOT NULL DEFAULT 0, -- of its connections; only the newest one writes
    running      INTEGER,                -- number of the release that it runs
    health       TEXT NOT NULL DEFAULT '{}', -- JSON
    UNIQUE (project_id, name)
) STRICT;

-- What devices should run. A release is the unit of its rollout; see TRANSITIONS in
-- model_deployment/core/release_lifecycle.py.
CREATE TABLE IF NOT EXISTS releases (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id INTEGER NOT NULL REFERENCES device_projects (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL CHECK (number > 0),
    model      TEXT NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    policy     TEXT NOT NULL,            -- JSON
    state      TEXT NOT NULL CHECK (state IN ('preparing', 'rolling', 'paused', 'complete', 'stopped',
        'superseded', 'failed')),
    stage      INTEGER NOT NULL DEFAULT 0,
    reason     TEXT NOT NULL,
    endpoint   TEXT,                     -- that it follows
    reverts    INTEGER,                  -- number of the release that it takes back
    manifest   TEXT NOT NULL DEFAULT '', -- canonical JSON, as it is signed
    signature  TEXT NOT NULL DEFAULT '', -- Ed25519, base64
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    since      TEXT NOT NULL,            -- when it entered its state or stage
    settled_at TEXT,                     -- since when enough devices of the open stages run it
    told       INTEGER NOT NULL DEFAULT 0, -- whether the webhook was told of its state
    UNIQUE (project_id, number),
    CHECK ((manifest = '') = (signature = '')),
    CHECK (manifest != '' OR state NOT IN ('rolling', 'paused', 'complete'))
) STRICT;

-- A project has one release under way at most.
CREATE UNIQUE INDEX IF NOT EXISTS release_under_way ON releases (project_id)
    WHERE state IN ('preparing', 'rolling', 'paused');

CREATE TABLE IF NOT EXISTS release_events (
    id         INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES device_projects (id) ON DELETE CASCADE,
    number     INTEGER,
    device     TEXT,
    at         TEXT NOT NULL,
    previous   TEXT,
    state      TEXT,
    reason     TEXT NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS events_of_project ON release_events (project_id, id);
-- Those of single devices, and those of the project, are bounded apart.
CREATE INDEX IF NOT EXISTS events_by_subject ON release_events (project_id, device IS NULL, id);

-- What each device has made of each release that it was told of.
CREATE TABLE IF NOT EXISTS device_updates (
    device_id  INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    release_id INTEGER NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    state      TEXT NOT NULL CHECK (state IN ('offered', 'downloading', 'verifying', 'trying', 'running',
        'failed', 'refused')),
    reason     TEXT NOT NULL,
    since      TEXT NOT NULL,
    bytes      INTEGER NOT NULL DEFAULT 0,
    of         INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device_id, release_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS updates_of_release ON device_updates (release_id);

CREATE TABLE IF NOT EXISTS device_commands (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id    INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    value        TEXT NOT NULL,          -- JSON
    created_at   TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    delivered_at TEXT,
    answered_at  TEXT,
    ok           INTEGER,
    answer       TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX IF NOT EXISTS commands_of_device ON device_commands (device_id, id);

-- Messages of devices that are stored, but are not in the document store yet; and the last lines of logs.
CREATE TABLE IF NOT EXISTS device_messages (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id   INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    stream      TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('metrics', 'log', 'captures')),
    at          TEXT NOT NULL,           -- by the clock of the device
    received_at TEXT NOT NULL,
    data        TEXT NOT NULL,           -- JSON
    lines       INTEGER NOT NULL DEFAULT 0,  -- of a log
    UNIQUE (device_id, stream, seq)
) STRICT;

CREATE INDEX IF NOT EXISTS messages_of_kind ON device_messages (kind, id);
CREATE INDEX IF NOT EXISTS log_of_device ON device_messages (device_id, id, lines) WHERE kind = 'log';
