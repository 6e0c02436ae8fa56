"""``python -m model_deployment_flows serve``."""

from __future__ import annotations

import argparse
import logging
import sys

from model_deployment_flows.environment import NotSet, ServiceEnvironment
from model_deployment_flows.service.log_file import write_log
from model_deployment_flows.service.options import Priority, ServiceOptions
from model_deployment_flows.service.place import Place
from model_deployment_flows.service.service import (
    AlreadyRunning,
    CannotStart,
    Service,
    only_one,
    stop_on_signals,
)

_log = logging.getLogger(__name__)

#: Exit codes: 2 as for a setting that cannot be used, 3 for a service that runs already.
_FAILED, _UNUSABLE, _RUNNING = 1, 2, 3


def main(arguments: list[str] | None = None) -> int:
    try:
        options = _options(arguments)
        environment = ServiceEnvironment.read()
        place = Place.of(environment.data_dir)
    except (NotSet, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return _UNUSABLE
    try:
        with only_one(place), write_log(place.log):
            service = Service(
                place, environment.data_dir, environment.project, options, environment.inherited
            )
            stop_on_signals(service)
            service.run()
    except AlreadyRunning as error:
        sys.stderr.write(f"error: {error}\n")
        return _RUNNING
    except (CannotStart, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return _FAILED
    return 0


def _options(arguments: list[str] | None) -> ServiceOptions:
    parser = argparse.ArgumentParser(prog="python -m model_deployment_flows")
    serve = parser.add_subparsers(required=True).add_parser(
        "serve", help="start Prefect's server and run flows until there is nothing to do"
    )
    default = ServiceOptions()
    serve.add_argument("--host", default=default.host, help="address of Prefect's API")
    serve.add_argument("--port", type=int, default=default.port, help="0: a free one")
    serve.add_argument(
        "--idle-timeout",
        type=float,
        default=default.idle_timeout,
        metavar="SECONDS",
        help="end after this time without a run; 0: never (default: %(default)g)",
    )
    serve.add_argument(
        "--priority",
        type=Priority,
        choices=[*Priority],
        default=default.priority,
        help="how runs share the processors with everything else (default: %(default)s)",
    )
    serve.add_argument(
        "--threads", type=int, default=default.threads, help="of a run; 0: processors less one"
    )
    serve.set_defaults(**ServiceEnvironment.defaults())
    given = vars(parser.parse_args(arguments))
    secrets = ServiceEnvironment.secrets()
    return ServiceOptions(**given, auth=secrets.auth, database=secrets.database)


if __name__ == "__main__":
    sys.exit(main())
