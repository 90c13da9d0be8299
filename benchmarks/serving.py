"""How the benchmarks' own servers are served: as the gateway is, with the settings of `python -m api`."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI


def serve(app: FastAPI) -> None:
    """Serve on the port that the command line names, until killed."""
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        log_level="warning",
    )
