"""What one gateway process holds open while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from api.backlog import Backlog
from api.credentials import ANONYMOUS, Credentials, Signer
from api.file_urls import FileUrls
from api.intake import Intake
from api.limits import Limiter
from api.passwords import Passwords
from api.quotas import Quotas
from api.services.health import Startup
from api.services.input_caps import InputCaps
from api.services.inputs import InputFiles
from api.services.versions import Versions
from api.settings import GatewaySettings
from api.stopping import Patience
from api.vector_cache import VectorCache
from api.waiting import Waiting
from db.blob_urls import BlobUrls
from db.blobs import Blobs
from db.session import async_engine
from db.settings import BlobSettings, DatabaseSettings
from db.stream_urls import StreamUrls
from workers.bells import GatewayBells
from workers.broker import BrokerSettings

# A request that needs Redis waits no longer for it, and goes on without.
REDIS_TIMEOUT_SECONDS = 0.25


@dataclass(slots=True)
class Gateway:
    """The parts of a gateway. None of them connects before it is used, and each finds its way back."""

    settings: GatewaySettings
    engine: AsyncEngine
    redis: Redis
    signer: Signer
    credentials: Credentials
    passwords: Passwords
    limiter: Limiter
    versions: Versions
    bells: GatewayBells
    intake: Intake
    backlog: Backlog
    quotas: Quotas
    waiting: Waiting
    blobs: Blobs
    blob_urls: BlobUrls
    file_urls: FileUrls
    stream_urls: StreamUrls
    inputs: InputFiles
    vectors: VectorCache
    startup: Startup
    patience: Patience
    batch_added: asyncio.Event


def _redis(broker: BrokerSettings) -> Redis:
    return Redis.from_url(
        broker.url(),
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


@asynccontextmanager
async def open_gateway(
    settings: GatewaySettings, database: DatabaseSettings, broker: BrokerSettings, store: BlobSettings
) -> AsyncIterator[Gateway]:
    """A gateway's parts; they are closed when the block ends."""
    engine = async_engine(database)
    redis = _redis(broker)
    secret_key = settings.secret_key.get_secret_value()
    signer = Signer(secret_key)
    blobs, blob_urls = Blobs(store), BlobUrls(secret_key, seconds=store.blob_url_seconds)
    inputs = InputFiles(settings, engine, blobs, blob_urls)
    bells = GatewayBells(redis)
    intake = Intake(
        database.conninfo,
        bells,
        timeout_seconds=settings.intake_timeout_seconds,
        failpoint=settings.augury_failpoint,
    )
    backlog = Backlog(
        engine,
        per_pool=settings.backlog_per_pool,
        per_user=settings.backlog_per_user,
        of_owner={ANONYMOUS.id: settings.backlog_anonymous},
    )
    startup, patience = Startup(), Patience()
    waiting = Waiting(broker.url())
    waiting.open()
    try:
        yield Gateway(
            settings=settings,
            engine=engine,
            redis=redis,
            signer=signer,
            credentials=Credentials(engine, signer, cache_seconds=settings.token_cache_seconds),
            passwords=Passwords(),
            limiter=Limiter(settings, redis.connection_pool),
            versions=Versions(engine, InputCaps(settings.max_text_chars, settings.max_batch_size)),
            bells=bells,
            intake=intake,
            backlog=backlog,
            quotas=Quotas(engine),
            waiting=waiting,
            blobs=blobs,
            blob_urls=blob_urls,
            file_urls=FileUrls(secret_key),
            stream_urls=StreamUrls(secret_key),
            inputs=inputs,
            vectors=VectorCache(settings.embedding_cache_size),
            startup=startup,
            patience=patience,
            batch_added=asyncio.Event(),
        )
    finally:
        inputs.close()
        await startup.close()
        await patience.close()
        await intake.close()
        await bells.close()
        await backlog.close()
        await waiting.close()
        await redis.aclose()
        await engine.dispose()


def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
