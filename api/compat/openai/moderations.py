"""Moderations: classifications of texts, held against thresholds that the version names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request, Response

from api.compat.openai.operations import Input, Operation
from api.compat.openai.requests import admitted, described
from api.compat.openai.running import call
from api.compat.openai.schemas.moderations import Moderation, ModerationList, ModerationRequest
from api.errors import Invalid, ModelFailed
from api.services.versions import ResolvedVersion
from db.documents import PredictionRecord
from model_types.classification.schema import MAX_LABELS, Label

router = APIRouter(tags=["openai"])

PATH = "/v1/moderations"
MODEL_TYPES = ("classification",)
PARAMETERS = {"text": "input"}


@router.post(PATH, response_model=ModerationList, openapi_extra=described(ModerationRequest))
async def create(request: Request) -> Response:
    """Tell what is wrong with texts, as OpenAI's API does, by the categories of a model of one's own.

    These are the labels in the version's option `moderation`, which has the score from which on each is
    flagged.
    """
    principal, body = await admitted(request, ModerationRequest)
    asked = await call(request, principal, body.model, MODEL_TYPES, PARAMETERS)
    answer = _answer(body, asked.version, await asked.run(_inputs(body, asked.version)))
    return Response(answer, media_type="application/json")


def _inputs(body: ModerationRequest, version: ResolvedVersion) -> list[Input]:
    if not version.options.get("moderation"):
        raise Invalid([("model", "is no moderation model: its version has no option `moderation`")])
    return [{"text": text, "top_k": MAX_LABELS} for text in body.input]


def _answer(body: ModerationRequest, version: ResolvedVersion, records: Sequence[PredictionRecord]) -> str:
    thresholds = version.options["moderation"]
    results = [moderation(record.output, thresholds) for record in records]
    return ModerationList(id=f"modr-{records[0].id}", model=body.model, results=results).model_dump_json()


def moderation(labels: Sequence[Label], thresholds: Mapping[str, float]) -> Moderation:
    """What the scores of all labels come to. Raises `ModelFailed` where a category is no label."""
    scores = {label["label"]: label["score"] for label in labels}
    if missing := thresholds.keys() - scores.keys():
        raise ModelFailed(f"the model has no label {min(missing)!r}, which its option `moderation` names")
    categories = {name: scores[name] >= threshold for name, threshold in thresholds.items()}
    return Moderation(
        flagged=any(categories.values()),
        categories=categories,
        category_scores={name: scores[name] for name in thresholds},
        category_applied_input_types={name: ["text"] for name in thresholds},
    )


OPERATION = Operation(PATH, ModerationRequest, MODEL_TYPES, lambda _: PARAMETERS, _inputs, _answer)
