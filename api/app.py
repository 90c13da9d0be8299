"""The gateway's application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from api import errors
from api.aliases import Aliases
from api.compat.openai import audio, batches, chat, completions, embeddings, images, moderations, rerank
from api.compat.openai.batching.running import running_batches
from api.compat.openai.errors import SURFACE as OPENAI
from api.compat.originals import chat as default_chat
from api.compat.originals import health as health_names
from api.compat.originals import home, inference, tasks
from api.file_urls import FILES_PATH
from api.gateway import open_gateway
from api.requests import RequestMiddleware
from api.routes import (
    account,
    auth,
    blobs,
    collections,
    deployments,
    docs,
    files,
    health,
    lanes,
    metrics,
    models,
    pages,
    predictions,
    search,
    streams,
    trainings,
    uploads,
    users,
    webhooks,
)
from api.settings import GatewaySettings
from api.shortcut import Shortcut
from db.settings import BlobSettings, DatabaseSettings
from workers.broker import BrokerSettings

log = logging.getLogger(__name__)

_PARTS = (
    auth,
    account,
    users,
    models,
    collections,
    search,
    deployments,
    lanes,
    predictions,
    streams,
    uploads,
    files,
    blobs,
    webhooks,
    trainings,
    chat,
    completions,
    embeddings,
    rerank,
    audio,
    images,
    moderations,
    batches,
    default_chat,
    inference,
    tasks,
    home,
    health,
    health_names,
    metrics,
    pages,
    docs,
)


class Application(FastAPI):
    """FastAPI without the layers that it puts around ours: what they do has been done, for every request."""

    def build_middleware_stack(self) -> ASGIApp:
        """The layers from our outermost one on."""
        layer = super().build_middleware_stack()
        while not isinstance(layer, Aliases):
            layer = getattr(layer, "app")  # noqa: B009 - not every ASGI application has one
        return layer


@cache
def _routes() -> Sequence[BaseRoute]:
    """All routes. FastAPI builds each at its first request, once for all applications of this process."""
    router = APIRouter(redirect_slashes=False)
    for part in _PARTS:
        router.include_router(part.router)
    return router.routes


def create_app(
    gateway: GatewaySettings, database: DatabaseSettings, broker: BrokerSettings, store: BlobSettings
) -> FastAPI:
    """The application. It starts without its servers, and works as soon as they are there."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if gateway.allow_anonymous and not gateway.is_loopback:
            log.warning(
                "ALLOW_ANONYMOUS is on and the gateway listens on %s: whoever reaches it may use its models",
                gateway.api_host,
            )
        async with (
            open_gateway(gateway, database, broker, store) as app.state.gateway,
            running_batches(app.state.gateway),
        ):
            yield

    app = Application(
        title="Augury",
        version=version("augury"),
        lifespan=lifespan,
        routes=list(_routes()),
        redirect_slashes=False,
        openapi_url=None,
    )
    # The last one added stands first.
    app.add_middleware(
        Shortcut,
        endpoints={
            ("POST", "/v1/predictions"): predictions.create,
            ("POST", chat.PATH): chat.create,
            ("POST", completions.PATH): completions.create,
            ("POST", embeddings.PATH): embeddings.create,
            ("POST", rerank.PATH): rerank.create,
        },
    )
    app.add_middleware(
        RequestMiddleware,
        max_body_bytes=gateway.body_limit_bytes,
        max_bytes_of={FILES_PATH: gateway.upload_limit_bytes},
        surfaces=(OPENAI,),
    )
    errors.install(app)
    app.add_middleware(Aliases, routes=[route for part in _PARTS for route in part.router.routes])
    return app
