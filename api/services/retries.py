"""Requests that a client sends again because it has not heard the answer, found again without a key.

Replicate's newer client for Python repeats a POST after a timeout, a lost connection or an error, with no
Idempotency-Key and without asking. All that it tells is `X-Stainless-Retry-Count`: 0, 1, 2. So its requests
get a key of their own, which is dropped as soon as the answer is out; a repetition takes over the key of an
earlier attempt at the same body that is still there. Each attempt is taken once: two equal requests that are
both repeated stay two.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.datastructures import Headers

from api.schemas.predictions import PredictionCreate
from db.ids import new_id
from db.repositories import attempts
from db.repositories.transactions import write

MAX_NUMBER = 9

# A repetition comes within seconds of the client's time-out, which is a minute by default.
WINDOW_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """A client's `number`-th repetition of a request; 0 is the request itself. `key` is this one's alone."""

    request: str
    number: int
    key: str


def attempt_of(headers: Headers, body: PredictionCreate) -> Attempt | None:
    """What a request says of its attempts; None for clients that do not count them."""
    number = headers.get("x-stainless-retry-count")
    if number is None or not (number.isascii() and number.isdigit()):
        return None
    request = f"attempt:{sha256(msgspec.json.encode(body)).hexdigest()}:"
    counted = min(int(number[:3]), MAX_NUMBER)
    return Attempt(request, counted, f"{request}{counted}:{new_id()}")


async def earlier(engine: AsyncEngine, owner_id: str, attempt: Attempt) -> str | None:
    """The prediction of an earlier attempt whose answer is not out; it is this attempt's from now on."""
    if attempt.number == 0:
        return None
    own = f"{attempt.request}{attempt.number}"
    async with write(engine) as session:
        return await attempts.take_over(
            session, owner_id, key=attempt.key, first=attempt.request, last=own, seconds=WINDOW_SECONDS
        )


async def answered(engine: AsyncEngine, owner_id: str, attempt: Attempt) -> None:
    """The answer to this attempt is out: who asks the same again wants another prediction."""
    async with write(engine) as session:
        await attempts.drop(session, owner_id, attempt.key)
