-- The state database, and the only DDL of it. Opened by model_deployment/state/database.py alone.
--
-- Columns ending in _at are wall clock (ISO 8601, UTC), for people. not_before, deadline,
-- ready_since, quarantined_until and blocked_until are seconds of the monotonic clock: they outlive
-- a controller, but not a boot, so they are cleared when meta.boot_id has changed.

CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,      -- instance_id, boot_id, documents ("embedded": there is a documents.db)
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
