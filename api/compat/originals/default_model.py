"""The model of requests that name none."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from api.credentials import Principal
from api.errors import Invalid
from api.gateway import gateway_of
from api.services import models


async def default_model(
    request: Request, principal: Principal, model_types: Sequence[str], *, field: str
) -> str:
    """What the setting MODEL_ID names, else the only model of these types that the caller sees.

    `field` is what the request would name its model by. Raises `Invalid` where that is needed.
    """
    gateway = gateway_of(request)
    if gateway.settings.default_chat_version is not None:
        return gateway.settings.default_chat_version
    found = [
        model
        for model_type in model_types
        for model, _ in await models.browse(gateway, principal, limit=1, model_type=model_type)
    ]
    if len(found) != 1:
        what = "fits" if not found else "alone fits"
        raise Invalid([(field, f"is required: no model {what}, and the server has no MODEL_ID")])
    return f"{found[0].owner}/{found[0].name}"
