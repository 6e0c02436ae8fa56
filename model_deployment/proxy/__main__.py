"""``python -m model_deployment.proxy``: one proxy, started by a controller, which it outlives."""

import asyncio
import logging
import signal
import socket

import uvloop

from model_deployment.http.process import prepare_for_connections
from model_deployment.log import lines
from model_deployment.proxy.log_sender import sent_to
from model_deployment.proxy.program import ProxyProgram
from model_deployment.proxy.protocol import ProxyConfig
from model_deployment.runtime.companions import read_config

_log = logging.getLogger("model_deployment.proxy")


async def _run(config: ProxyConfig) -> None:
    program = ProxyProgram(config, socket.socket(fileno=config.descriptor))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, program.retire)
    # A terminal sends these to the controller as well, and means the controller.
    for number in (signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    with sent_to(program.tell):
        await program.run()


def main() -> None:
    config = ProxyConfig.from_message(read_config())
    lines.configure(config.log_level, config.log_format)
    prepare_for_connections()
    _log.info("proxy %s begins", config.id)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config))
    _log.info("proxy %s ends", config.id)


if __name__ == "__main__":
    main()
