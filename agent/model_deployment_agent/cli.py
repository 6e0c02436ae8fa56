"""The command line: ``enrol``, ``run``, ``status``, ``retry``."""

import argparse
import asyncio
import http.client
import json
import logging
import math
import os
import shlex
import shutil
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from model_deployment_agent import __version__, update_store
from model_deployment_agent.agent import Agent, AgentOptions
from model_deployment_agent.controller import Address, Controller
from model_deployment_agent.database import Database
from model_deployment_agent.enrolment import enrol
from model_deployment_agent.errors import AgentError
from model_deployment_agent.folder import Folder, locked
from model_deployment_agent.model_child import ModelLimits

FOLDER = "/var/lib/model-deployment-agent"
_MIB = 1024 * 1024


def run(arguments: Sequence[str]) -> int:
    """Run a command; its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        return int(options.command(options))
    except AgentError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"cannot use {options.folder}: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _enrol(options: argparse.Namespace) -> int:
    address = Address.of(options.url, insecure=options.insecure)
    folder = Folder.at(options.folder)
    code = sys.stdin.readline().strip() if options.code == "-" else options.code
    folder.path.mkdir(parents=True, exist_ok=True)
    if (folder.path / "agent.json").exists() and not options.again:
        raise AgentError(f"cannot enrol: {folder.path} is that of an enrolled device; say --again")
    certificates = _certificates(options.ca) if options.ca else folder.certificates
    identity = enrol(
        Controller(address, certificates),
        folder,
        url=options.url,
        project=options.project,
        code=code,
        device=options.name,
        attributes=dict(options.attribute),
        insecure=options.insecure,
    )
    if options.ca:
        shutil.copyfile(certificates, folder.certificates)
    _say(
        f"{identity.device} is a device of {identity.project}; start, or start anew: "
        f"model-deployment-agent run --folder {shlex.quote(str(folder.path))}"
    )
    return 0


def _certificates(name: str) -> Path:
    try:
        ssl.create_default_context(cafile=name)
    except OSError as error:
        raise AgentError(
            f"cannot use the certificates in {name}: {error}; --ca takes a file of them as PEM"
        ) from error
    return Path(name)


def _run(options: argparse.Namespace) -> int:
    folder = Folder.at(options.folder)
    agent_options = AgentOptions(
        port=options.port,
        limits=ModelLimits(
            options.model_memory * _MIB, options.start_seconds, options.predict_seconds
        ),
        max_body=options.max_body * 1024,
        capture_rate=options.capture_rate,
        outbox=options.outbox * _MIB,
        watch=options.watch,
        one_model=options.one_model,
        poll=options.poll,
        on_command=options.on_command,
        command_seconds=options.command_seconds,
    )
    folder.identity()  # says clearly that it is not enrolled, before anything is made
    with locked(folder):
        asyncio.run(_main(folder, agent_options))
    return 0


async def _main(folder: Folder, options: AgentOptions) -> None:
    await Agent(folder, options).run()


def _status(options: argparse.Namespace) -> int:
    identity = Folder.at(options.folder).identity()
    connection = http.client.HTTPConnection("127.0.0.1", options.port, timeout=5)
    try:
        connection.request("GET", "/status")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AgentError(
            f"cannot ask the agent of {identity.device} at 127.0.0.1:{options.port}: {error}; does it run?"
        ) from error
    finally:
        connection.close()
    _say(json.dumps(found, indent=1))
    return 0 if found.get("serving") else 3


def _retry(options: argparse.Namespace) -> int:
    folder = Folder.at(options.folder)
    folder.identity()
    store = Database(folder.database)
    with store.transaction() as connection:
        numbers = update_store.forgive(connection)
    store.close()
    _say(f"releases that may be tried again: {', '.join(map(str, numbers)) or 'none had failed'}")
    return 0


def _say(text: str) -> None:
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:  # whoever reads has read enough; at its end Python writes once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise AgentError(f"cannot write the answer: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "model-deployment-agent",
        description="Runs the models of a model_deployment controller on this device.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, does: Callable[[argparse.Namespace], int], what: str
    ) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=what, description=what)
        found.set_defaults(command=does)
        found.add_argument(
            "--folder", default=FOLDER, help=f"where the device keeps its state ({FOLDER})"
        )
        return found

    _enrol_arguments(command("enrol", _enrol, "Register this device with a code of an operator."))
    _run_arguments(command("run", _run, "Follow the releases of the controller, and predict."))
    status = command("status", _status, "What the agent that runs here does; 3 if no model serves.")
    status.add_argument("--port", type=_port, default=8650)
    command("retry", _retry, "Let releases that failed here be tried again.")
    return parser


def _enrol_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", metavar="URL", help="the controller, for example https://models.example.org"
    )
    parser.add_argument("project", metavar="PROJECT")
    parser.add_argument("code", metavar="CODE", help="mdc_…; - reads it from standard input")
    parser.add_argument(
        "--name", default=socket.gethostname(), help="name of this device (its host name)"
    )
    parser.add_argument("--attribute", metavar="K=V", type=_pair, action="append", default=[])
    parser.add_argument(
        "--ca", metavar="FILE", help="certificates to check the controller's with (PEM)"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="allow plain http to another machine"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="replace the identity that is here; of another project, forget its releases",
    )


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    def add(name: str, kind: Callable[[str], Any], value: Any, what: str) -> None:
        shown = "" if value is None else f" ({value})"
        parser.add_argument(
            name,
            type=kind,
            default=value,
            metavar="N" if kind is not str else "X",
            help=what + shown,
        )

    add("--port", _port, 8650, "port at 127.0.0.1; 0: any")
    add("--poll", _positive, None, "seconds between two questions, instead of a socket")
    add("--capture-rate", _share, 0.1, "share of the predictions that are captured, 0 to 1")
    add("--watch", _positive, 300.0, "seconds for which a new release has to prove itself")
    add("--model-memory", _count, 256, "MiB that a model may write to; 0: no limit")
    parser.add_argument(
        "--one-model",
        action="store_true",
        help="end the model that serves while a new one is tried: for devices with little memory",
    )
    add("--start-seconds", _positive, 120.0, "seconds that a model may take to load")
    add("--predict-seconds", _positive, 30.0, "seconds that one prediction may take")
    add("--max-body", _many, 1024, "KiB of a request")
    add("--outbox", _many, 16, "MiB of messages that wait for the controller")
    add(
        "--on-command",
        str,
        None,
        "program that is run with the name and the value (JSON) of each command",
    )
    add("--command-seconds", _positive, 10.0, "seconds that this program may take")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!a} is not NAME=VALUE")
    return name, value


def _number(text: str, what: str, fits: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):  # nor does NaN
        raise argparse.ArgumentTypeError(f"{text!a} is not {what}")
    return value


def _positive(text: str) -> float:
    return _number(text, "a number above 0", lambda value: 0 < value < math.inf)


def _share(text: str) -> float:
    return _number(text, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def _count(text: str) -> int:
    return int(_number(text, "a whole number", lambda value: 0 <= value < 2**31 and value % 1 == 0))


def _many(text: str) -> int:
    fits = lambda value: 1 <= value < 2**31 and value % 1 == 0  # noqa: E731
    return int(_number(text, "a whole number above 0", fits))


def _port(text: str) -> int:
    return int(_number(text, "a port", lambda value: 0 <= value < 65536 and value % 1 == 0))
