"""Servers of ``mlflow models serve``, each on a port of its own, all in one process.

``python -m tests.support.scoring_servers TIMEOUT PORT FOLDER [PORT FOLDER …]`` makes of each model the
application that uvicorn runs for that command. Command and uvicorn import MLflow anew for each model.
"""

import asyncio
import os
import sys

import uvicorn

from tests.support.stubs import HOST


async def serve(models: dict[int, str]) -> None:
    """Serve models, by port, until this process ends."""
    from mlflow.pyfunc import scoring_server

    servers = []
    for port, folder in models.items():
        app = scoring_server.init(scoring_server.load_model_with_mlflow_config(folder))
        config = uvicorn.Config(
            app, host=HOST, port=port, timeout_keep_alive=75, access_log=False, log_level="warning"
        )
        servers.append(uvicorn.Server(config))
    await asyncio.gather(*(one.serve() for one in servers))


if __name__ == "__main__":
    os.environ["MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"] = sys.argv[1]
    ports, folders = sys.argv[2::2], sys.argv[3::2]
    asyncio.run(serve(dict(zip(map(int, ports), folders, strict=True))))
