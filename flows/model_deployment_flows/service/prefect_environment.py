"""The environment of Prefect's server and of the processes of runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from model_deployment_flows.service.options import ServiceOptions

#: Marks the processes of a data directory's service, which others than their parent have to find.
SERVER_OF = "MODEL_DEPLOYMENT_FLOWS_SERVER_OF"
#: In the environment of each process of a run; Prefect reads it, too.
RUN_ID = "PREFECT__FLOW_RUN_ID"
DATA_DIR = "MODEL_DEPLOYMENT_DATA_DIR"

#: Services of the server for what is not used here: schedules, automations, workers.
_UNUSED_SERVICES = (
    "SCHEDULER",
    "TRIGGERS",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "CLEANUP_RECONCILER",
    "EVENT_LOGGER",
    "EVENT_PERSISTER",  # most of what would be written, and read by nobody
)
#: Days for which runs that ended are kept, with their logs.
_KEPT_DAYS = 180


def of_server(
    base: Mapping[str, str], home: Path, data_dir: Path, auth: str, options: ServiceOptions
) -> dict[str, str]:
    """That of the server: nothing leaves this machine, and nothing runs that nobody uses."""
    database = options.database or f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    return {
        **_without_prefect(base),
        **_quiet(home),
        SERVER_OF: str(data_dir),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "memo_store.toml"),
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(_KEPT_DAYS * 86400),
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNUSED_SERVICES},
    }


def of_clients(base: Mapping[str, str], home: Path, api_url: str, auth: str) -> dict[str, str]:
    """That of the program that registers flows, and of runs."""
    return {
        **_without_prefect(base),
        **_quiet(home),
        "PREFECT_API_URL": api_url,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_UI_URL": "",  # there is none, so logs must not name it
        # The server may be started anew in the middle of a run, which takes up to half a minute.
        "PREFECT_CLIENT_MAX_RETRIES": "10",
    }


def of_run(base: Mapping[str, str], run_id: str, threads: int) -> dict[str, str]:
    """Adds the run and the limits of threads, which libraries read when they are imported."""
    limit = str(threads)
    names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "POLARS_MAX")
    return {
        **base,
        RUN_ID: run_id,
        **{
            f"{name}_NUM_THREADS" if "_" not in name else f"{name}_THREADS": limit for name in names
        },
        "LOKY_MAX_CPU_COUNT": limit,
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}",
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        # What experiments log belongs to the log of the run.
        "PREFECT_LOGGING_EXTRA_LOGGERS": "model_deployment_flows",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PYTHONUNBUFFERED": "1",
    }


def _quiet(home: Path) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "model_deployment_flows.series",
        "PREFECT_CLI_COLORS": "false",
    }


def _without_prefect(base: Mapping[str, str]) -> dict[str, str]:
    """A user's own settings of Prefect are for another server."""
    return {name: value for name, value in base.items() if not name.startswith("PREFECT_")}
