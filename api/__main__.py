"""`python -m api` serves the gateway, as the environment and `.env` say."""

from __future__ import annotations

import sys

import uvicorn
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
    uvicorn.run(
        create_app(settings, database, broker, store),
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


if __name__ == "__main__":
    main()
