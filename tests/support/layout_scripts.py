"""The tables of each earlier layout of the state database, with rows in them."""

from pathlib import Path

_FOLDER = Path(__file__).with_name("layouts")

#: Columns that every layout before 7 has.
_TOGETHER = """
INSERT INTO meta VALUES ('instance_id', '0123456789ab'), ('boot_id', 'b');
INSERT INTO deployments
    (id, model, version, desired, state, options, artifact, launch_id, handle, port, created_at)
VALUES (3, 'm', 1, 'running', 'ready', '{"workers": 2}', 'm-1-0', 'l1',
        '{"host": "127.0.0.1", "port": 8001, "ref": {"pid": 7}}', 8001, '2026-01-31T12:00:00+00:00'),
       (5, 'm', 2, 'stopped', 'stopped', '{}', 'm-2-0', NULL, NULL, NULL, '2026-01-31T12:00:00+00:00');
INSERT INTO ports (port, launch_id) VALUES (8001, 'l1'), (8002, NULL);
INSERT INTO events (id, deployment_id, at, previous, state, launch_id, reason)
VALUES (1, 3, '2026-01-31T12:00:00+00:00', NULL, 'pending', NULL, 'deploy asked for'),
       (2, 5, '2026-01-31T12:00:00+00:00', NULL, 'pending', NULL, 'deploy asked for');
"""

#: Since launches are apart from deployments.
_APART = """
INSERT INTO meta VALUES ('instance_id', '0123456789ab'), ('boot_id', 'b');
INSERT INTO deployments (id, model, version, desired, rest, options, artifact, created_at)
VALUES (3, 'm', 1, 'running', NULL, '{"workers": 2}', 'm-1-0', '2026-01-31T12:00:00+00:00'),
       (5, 'm', 2, 'stopped', 'stopped', '{}', 'm-2-0', '2026-01-31T12:00:00+00:00');
INSERT INTO launches (id, deployment_id, role, state, replica, options, artifact, generation, since,
    reason, launch_id, handle, port, ready_since)
VALUES (7, 3, 'serving', 'ready', 0, '{"workers": 2}', 'm-1-0', 1, '2026-01-31T12:00:00+00:00', 'ready',
        'l1', '{"host": "127.0.0.1", "port": 8001, "path": "", "ref": {"pid": 7}}', 8001, 3.5),
       (8, 3, 'coming', 'pending', 0, '{"workers": 3}', 'm-1-0', 2, '2026-01-31T12:00:00+00:00', 'asked',
        NULL, NULL, NULL, NULL);
INSERT INTO replacements (id, deployment_id, state, strategy, options, reason, purpose, since)
VALUES (4, 3, 'coming', 'beside', '{"workers": 3}', 'asked', 'change by ann', '2026-01-31T12:00:00+00:00');
INSERT INTO ports (port, launch_id) VALUES (8001, 'l1'), (8002, NULL);
INSERT INTO events (id, deployment_id, at, previous, state, launch_id, replica, reason)
VALUES (1, 3, '2026-01-31T12:00:00+00:00', NULL, 'pending', NULL, NULL, 'deploy asked for'),
       (2, 3, '2026-01-31T12:00:01+00:00', 'pending', 'ready', 'l1', 0, 'it answers');
"""

#: Since there are endpoints.
_ENDPOINTS = """
INSERT INTO endpoints (id, model, alias, policy, champion, champion_since, alias_version, created_at)
VALUES (2, 'm', 'live', '{}', 1, '2026-01-31T12:00:00+00:00', 2, '2026-01-31T12:00:00+00:00');
INSERT INTO rollouts (id, endpoint_id, candidate, champion, kind, state, "order", reason, evidence,
    started_at, since)
VALUES (9, 2, 2, 1, 'forward', 'deploying', 'advance', 'the alias moved', '{}',
        '2026-01-31T12:00:00+00:00', '2026-01-31T12:00:00+00:00');
INSERT INTO rollout_events (id, endpoint_id, rollout_id, version, at, state, reason)
VALUES (1, 2, 9, 2, '2026-01-31T12:00:00+00:00', 'deploying', 'the alias moved');
INSERT INTO endpoint_deployments VALUES ('m', 2);
"""

_TABLES = {int(path.stem): path.read_text() for path in _FOLDER.glob("*.sql")}

#: A script for each layout that any release has written, but for the present one.
SCRIPTS = {
    layout: tables + (_TOGETHER if layout < 7 else _APART) + (_ENDPOINTS if layout >= 5 else "")
    for layout, tables in sorted(_TABLES.items())
}
