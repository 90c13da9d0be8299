"""Trainings, which Replicate has and this server has not: a clear answer instead of a 404."""

from __future__ import annotations

from fastapi import APIRouter

from api.access import Reader
from api.errors import NotSupported

router = APIRouter(prefix="/v1", tags=["trainings"], include_in_schema=False)


@router.get("/trainings")
@router.get("/trainings/{training_id}")
@router.post("/trainings/{training_id}/cancel")
@router.post("/models/{owner}/{name}/versions/{version}/trainings")
async def refuse(_: Reader) -> None:
    """501, whatever is asked for."""
    raise NotSupported("this server runs models and does not train them")
