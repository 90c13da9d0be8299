"""Deployments on the wire, as Replicate has them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.fields import Moment, PlainText
from api.schemas.models import NAME
from api.schemas.predictions import CREATE_OF_MODEL_SCHEMA
from db.repositories import deployments

MAX_INSTANCES = 1000
_MODEL = NAME.removesuffix("$") + "/" + NAME.removeprefix("^")

MinInstances = Annotated[
    int, Field(ge=0, le=MAX_INSTANCES, description="How many lanes keep the version in memory.")
]
MaxInstances = Annotated[
    int, Field(ge=0, le=MAX_INSTANCES, description="How many lanes run it at a time at most; 0 pauses it.")
]


class DeploymentCreate(BaseModel):
    """A version of a model that is to have a queue and lanes of its own."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME, examples=["my-recital"])
    model: str = Field(pattern=_MODEL, description="owner/name", examples=["demo/recital"])
    version: PlainText = Field(min_length=1, max_length=300, description="A version's id or label.")
    hardware: PlainText = Field("cpu", min_length=1, max_length=100)
    min_instances: MinInstances = 0
    max_instances: MaxInstances = 1


class DeploymentPatch(BaseModel):
    """What is to change: a new release, if anything does."""

    model_config = ConfigDict(extra="forbid")

    version: PlainText | None = Field(None, min_length=1, max_length=300)
    hardware: PlainText | None = Field(None, min_length=1, max_length=100)
    min_instances: MinInstances | None = None
    max_instances: MaxInstances | None = None


class Configuration(BaseModel):
    """What a release runs on."""

    hardware: str
    min_instances: MinInstances
    max_instances: MaxInstances


class Creator(BaseModel):
    """The account that has made a release."""

    type: Literal["user"] = "user"
    username: str
    name: str


class Release(BaseModel):
    """What a deployment runs since its last change; the first one has the number 1."""

    number: int
    model: str = Field(description="owner/name")
    version: str
    created_at: Moment
    created_by: Creator | None = Field(description="Null when the account is gone.")
    configuration: Configuration


class Deployment(BaseModel):
    """A version of a model with a queue and lanes of its own."""

    owner: str
    name: str
    current_release: Release

    @classmethod
    def of(cls, release: deployments.Release) -> Self:
        row, creator = release.deployment, release.created_by
        return cls(
            owner=row.owner,
            name=row.name,
            current_release=Release(
                number=row.release,
                model=release.model,
                version=row.version_id,
                created_at=row.updated_at,
                created_by=None if creator is None else Creator(username=creator, name=creator),
                configuration=Configuration(
                    hardware=row.hardware,
                    min_instances=row.min_instances,
                    max_instances=row.max_instances,
                ),
            ),
        )


# The body of a prediction through a deployment, which says itself what runs.
PREDICT_SCHEMA: dict[str, Any] = {
    **CREATE_OF_MODEL_SCHEMA,
    "properties": {
        name: described
        for name, described in CREATE_OF_MODEL_SCHEMA["properties"].items()
        if name != "version"
    },
}


class DeploymentPage(BaseModel):
    """A page of deployments, the newest first."""

    results: list[Deployment]
    next: str | None
    previous: str | None
