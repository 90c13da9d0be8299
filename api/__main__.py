"""`python -m api` serves the gateway, as the environment and `.env` say."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from api import logs
from api.app import create_app
from api.errors import plain
from api.settings import GatewaySettings
from db.settings import BlobSettings, DatabaseSettings
from workers.broker import BrokerSettings

GRACEFUL_SHUTDOWN_SECONDS = 10
# Longer than clients and proxies keep a connection they do not use (httpx 5 s, nginx 60 s): whoever sends a
# request just as the other side hangs up gets an error, and must wonder whether it has been accepted.
KEEP_ALIVE_SECONDS = 75
EXIT_BAD_SETTINGS = 2
EXIT_NOT_STARTED = 3


class _Server(uvicorn.Server):
    """Tells the gateway that it is to stop before it waits for the requests that are under way."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if (gateway := getattr(self._app.state, "gateway", None)) is not None:
            gateway.waiting.cut_short()


def main() -> None:
    try:
        settings, database = GatewaySettings(), DatabaseSettings()
        broker, store = BrokerSettings(), BlobSettings()
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]).upper()
            print(f"{name} {plain(problem['msg'])}", file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_BAD_SETTINGS)
    logs.configure(settings.log_level)
    app = create_app(settings, database, broker, store)
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
    )
    server = _Server(config, app)
    with suppress(KeyboardInterrupt):  # it has stopped in good order, and raises that afterwards
        server.run()
    if not server.started:
        sys.exit(EXIT_NOT_STARTED)


if __name__ == "__main__":
    main()
