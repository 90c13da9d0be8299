"""Lines become predictions, which wait behind all that is more urgent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from api.compat.openai.batching.lines import OPERATIONS, body_of, read_lines, translated
from api.compat.openai.errors import error_answer
from api.credentials import Principal
from api.errors import refusal
from api.gateway import Gateway
from api.logs import request_id
from api.schemas.predictions import PredictionCreate
from api.services import predictions
from api.services.submitting import Terms
from db import submissions
from db.repositories.batches import Claim, Settled, Span
from db.states import Priority

# So few at a time, that whoever else this process serves does not wait for long.
_AT_ONCE = 4
# There is no room now, or something is away: the line is to be submitted again.
_LATER = (429, 503)


def request_id_of(prediction_ids: Sequence[str]) -> str:
    """What a line's request is called in logs and in the output file."""
    return f"batch_req_{prediction_ids[0]}"


async def feed(gateway: Gateway, owner: Principal, claim: Claim, key: str, spans: Sequence[Span]) -> None:
    """Submit lines, some of which may be submitted already, until there is no room for more.

    What cannot become a prediction has failed. Raises `LostClaim`.
    """
    async for group in read_lines(gateway.blobs, key, spans, most=_AT_ONCE):
        answers = await asyncio.gather(
            *[_submit(gateway, owner, claim.batch.endpoint, span, data) for span, data in group],
            return_exceptions=True,
        )
        refused = []
        is_full = False
        for (span, _), error in zip(group, answers, strict=True):
            if isinstance(error, Exception):
                if refusal(error).status in _LATER:
                    is_full = True
                else:
                    refused.append(await _refused(gateway, span, error))
            elif error is not None:
                raise error
        await claim.settle(refused)
        if is_full:
            return


async def _submit(gateway: Gateway, owner: Principal, endpoint: str, span: Span, data: bytes) -> None:
    request_id.set(request_id_of(span.prediction_ids))
    asked = await translated(gateway, owner, OPERATIONS[endpoint], body_of(data))
    for prediction_id, values in zip(span.prediction_ids, asked.inputs, strict=True):
        body = PredictionCreate(input=values, model=asked.version.version_id)
        await predictions.create(gateway, owner, body, Terms(id=prediction_id, priority=Priority.BATCH))


async def _refused(gateway: Gateway, span: Span, error: Exception) -> Settled:
    for prediction_id in span.prediction_ids:
        await submissions.cancel(gateway.engine, prediction_id)
    answer = error_answer(error)
    return Settled(span.line, "failed", answer.status_code, bytes(answer.body).decode())
