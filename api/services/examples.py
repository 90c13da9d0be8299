"""Predictions that models show as their examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from api.credentials import Principal
from api.errors import Invalid
from db.documents import PredictionRecord
from db.ids import ID_LENGTH
from db.repositories import examples
from db.repositories.transactions import read
from db.states import Status
from db.tables import Model

if TYPE_CHECKING:
    from api.gateway import Gateway


async def chosen(
    gateway: Gateway, principal: Principal, model: Model, prediction_id: str | None
) -> str | None:
    """The id of a prediction as a model's example: from now on whoever sees the model sees it.

    It must be the caller's own, of this model, and have succeeded. Raises `Invalid`. None takes it away.
    """
    if prediction_id is None:
        return None
    found: dict[str, PredictionRecord] = {}
    if len(prediction_id) == ID_LENGTH and prediction_id.isalnum():
        found = await read(gateway.engine, lambda session: examples.by_ids(session, [prediction_id]))
    record = found.get(prediction_id)
    if record is None or record.owner_id != principal.id:
        raise Invalid([("default_example", "must be the id of a prediction of your own")])
    if record.model_id != model.id or record.status != Status.SUCCEEDED:
        raise Invalid([("default_example", "must be a prediction of this model that has succeeded")])
    return prediction_id


async def of_models(gateway: Gateway, models: Iterable[Model]) -> dict[str, PredictionRecord]:
    """The examples of these models that are still there, by the models' ids.

    They are without what concerns only their owners.
    """
    wanted = {model.id: model.default_example_id for model in models if model.default_example_id}
    if not wanted:
        return {}
    found = await read(gateway.engine, lambda session: examples.by_ids(session, wanted.values()))
    return {
        model_id: msgspec.structs.replace(found[prediction_id], webhook=None)
        for model_id, prediction_id in wanted.items()
        if prediction_id in found
    }
