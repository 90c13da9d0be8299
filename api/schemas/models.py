"""Models and versions on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, TypeAdapter
from starlette.requests import Request

from api.schemas.fields import Moment, PlainText
from api.urls import absolute
from db.repositories.models import ModelRow
from db.repositories.residency import Residency
from db.tables import ModelVersion

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Visibility = Literal["public", "private"]

_http_url = TypeAdapter(AnyHttpUrl)


def _is_http_url(text: str) -> str:
    _http_url.validate_python(text)
    return text


Link = Annotated[PlainText, Field(max_length=2048), AfterValidator(_is_http_url)]


class Links(BaseModel):
    """Pages about a model; null removes one."""

    model_config = ConfigDict(extra="forbid")

    github_url: Link | None = None
    paper_url: Link | None = None
    license_url: Link | None = None
    weights_url: Link | None = None


class ModelCreate(BaseModel):
    """A model with its first version, or a new version of a model that is there."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME, examples=["GPT-2"])
    owner: str | None = Field(None, pattern=NAME, description="Administrators only; else you.")
    description: PlainText | None = Field(None, max_length=10_000)
    visibility: Visibility | None = Field(None, description="Of a new model; public unless you say.")
    model_type: str = Field(max_length=100, examples=["text-generation"])
    version: PlainText = Field(
        "1.0.0", min_length=1, max_length=100, description="Your name for the version."
    )
    model_path: PlainText = Field(
        min_length=1, max_length=1024, description="A folder of the workers', or a Hugging Face repository."
    )
    engine: str | None = Field(None, max_length=100, description="The model type's default if left out.")
    revision: PlainText | None = Field(None, min_length=1, max_length=200)
    hardware: PlainText = Field("cpu", min_length=1, max_length=100)
    input_schema: dict[str, Any] | None = Field(
        None, description="A JSON Schema, or a map of properties. The model type's own if left out."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="dtype, max_batch, max_wait_ms, …")


class ModelPatch(BaseModel):
    """What may change about a model. Its versions never do."""

    model_config = ConfigDict(extra="forbid")

    description: PlainText | None = Field(None, max_length=10_000)
    visibility: Visibility | None = None
    links: Links | None = None


class LoadOrder(BaseModel):
    """What is to be held in memory, and by how many lanes."""

    model_config = ConfigDict(extra="forbid")

    version: PlainText | None = Field(None, max_length=100, description="Its id or label; else the latest.")
    lanes: int = Field(1, ge=1, description="How many lanes are to hold it, those that do included.")


class UnloadOrder(BaseModel):
    """What is to leave every lane's memory."""

    model_config = ConfigDict(extra="forbid")

    version: PlainText | None = Field(None, max_length=100, description="Its id or label; else the latest.")


class State(BaseModel):
    """Whether a version is in memory. One that is not will be loaded for its next prediction."""

    status: Literal["loaded", "not_loaded", "unavailable"]
    lanes: int = Field(description="How many lanes hold it.")
    reason: str | None = Field(description="Why the last lane that tried could not load it.")

    @classmethod
    def of(cls, residency: Residency) -> Self:
        reason = residency.unavailable
        status: Literal["loaded", "not_loaded", "unavailable"]
        status = "loaded" if residency.lanes else "unavailable" if reason else "not_loaded"
        return cls(status=status, lanes=residency.lanes, reason=reason)


class Version(BaseModel):
    """An immutable snapshot of a model, and whether it is in memory."""

    id: str = Field(description="SHA-256 of all the rest, in hex.")
    label: str
    model_type: str
    engine: str
    model_path: str
    revision: str | None
    hardware: str
    input_schema: dict[str, Any]
    options: dict[str, Any]
    created_at: Moment
    state: State

    @classmethod
    def of(cls, row: ModelVersion, residency: Residency) -> Self:
        return cls(
            id=row.id,
            label=row.label,
            model_type=row.model_type,
            engine=row.engine,
            model_path=row.path,
            revision=row.revision,
            hardware=row.hardware,
            input_schema=row.input_schema,
            options=row.options,
            created_at=row.created_at,
            state=State.of(residency),
        )


class Model(BaseModel):
    """A model, and what it runs: its latest version."""

    id: str
    url: str
    owner: str
    name: str
    description: str
    visibility: Visibility
    links: dict[str, str]
    model_type: str
    model_path: str
    version: str = Field(description="The latest version's label.")
    hardware: str
    input_schema: dict[str, Any]
    options: dict[str, Any]
    state: State
    latest_version: Version
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, rows: ModelRow, residency: Residency, request: Request) -> Self:
        model, latest = rows
        return cls(
            id=model.id,
            url=absolute(request, f"/v1/models/{model.owner}/{model.name}"),
            owner=model.owner,
            name=model.name,
            description=model.description,
            visibility="private" if model.visibility == "private" else "public",
            links=model.links,
            model_type=latest.model_type,
            model_path=latest.path,
            version=latest.label,
            hardware=latest.hardware,
            input_schema=latest.input_schema,
            options=latest.options,
            state=State.of(residency),
            latest_version=Version.of(latest, residency),
            created_at=model.created_at,
            updated_at=model.updated_at,
        )


class ModelPage(BaseModel):
    """A page of models, the newest first."""

    results: list[Model]
    next: str | None
    previous: str | None


class VersionPage(BaseModel):
    """A page of a model's versions, the newest first."""

    results: list[Version]
    next: str | None
    previous: str | None
