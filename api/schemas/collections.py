"""Collections and search results on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, Field

from api.schemas.models import Model
from model_types.base import TypeInfo


class Collection(BaseModel):
    """The models of one type."""

    slug: str = Field(description="The model type.")
    name: str
    description: str

    @classmethod
    def of(cls, info: TypeInfo) -> Self:
        return cls(slug=info.name, name=_title(info), description=info.description)


class FullCollection(Collection):
    """A collection with its models."""

    models: list[Model]

    @classmethod
    def of_models(cls, info: TypeInfo, models: list[Model]) -> Self:
        return cls(slug=info.name, name=_title(info), description=info.description, models=models)


class CollectionPage(BaseModel):
    """All collections."""

    results: list[Collection]
    next: None = None
    previous: None = None


class Metadata(BaseModel):
    """Why a model was found."""

    score: int = Field(description="How well it fits: more is better.")
    tags: list[str] = Field(description="Its model type.")


class FoundModel(BaseModel):
    """A model that was found."""

    model: Model
    metadata: Metadata

    @classmethod
    def of(cls, model: Model, score: int) -> Self:
        tags = [model.model_type] if model.model_type else []
        return cls(model=model, metadata=Metadata(score=score, tags=tags))


class Findings(BaseModel):
    """What a search has found, the best first."""

    query: str
    models: Sequence[FoundModel]
    collections: Sequence[Collection]
    pages: Sequence[str] = Field((), description="Always empty: this server has no pages to search.")


def _title(info: TypeInfo) -> str:
    return info.name.replace("-", " ").capitalize()
