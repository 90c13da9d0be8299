"""Models and versions on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, TypeAdapter
from starlette.requests import Request

from api.schemas.fields import Moment, PlainText
from api.services import openapi_schema
from api.urls import absolute
from db.repositories.models import FoundModel
from db.repositories.residency import Residency
from db.tables import ModelVersion
from model_types import registry

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


class Profile(Links):
    """What a model tells of itself; the links may also stand in an object of their own."""

    description: PlainText | None = Field(None, max_length=10_000)
    readme: PlainText | None = Field(None, max_length=200_000, description="Markdown.")
    visibility: Visibility | None = None
    cover_image_url: Link | None = None
    links: Links | None = None


class ModelCreate(Profile):
    """A model with its first version, or a new version of a model that is there.

    Without a model type it is a model that has no version yet, which is what Replicate's clients create.
    """

    name: str = Field(pattern=NAME, examples=["GPT-2"])
    owner: str | None = Field(None, pattern=NAME, description="Administrators only; else you.")
    model_type: str | None = Field(None, max_length=100, examples=["text-generation"])
    version: PlainText = Field(
        "1.0.0", min_length=1, max_length=100, description="Your name for the version."
    )
    model_path: PlainText | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="A folder of the workers', or a Hugging Face repository.",
    )
    engine: str | None = Field(None, max_length=100, description="The model type's default if left out.")
    revision: PlainText | None = Field(None, min_length=1, max_length=200)
    hardware: PlainText = Field("cpu", min_length=1, max_length=100)
    input_schema: dict[str, Any] | None = Field(
        None, description="A JSON Schema, or a map of properties. The model type's own if left out."
    )
    output_schema: dict[str, Any] | None = Field(
        None, description="A JSON Schema, where the model type leaves open what comes out."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="dtype, max_batch, max_wait_ms, …")


class ModelPatch(Profile):
    """What may change about a model. Its versions never do."""

    default_example: str | None = Field(
        None, max_length=100, description="The id of a prediction of yours that shows what it does."
    )


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


class Modalities(BaseModel):
    """The kinds of what goes in and comes out: text, image, audio, embedding, score, label, box."""

    input: list[str]
    output: list[str]

    @classmethod
    def of(cls, version: ModelVersion | None) -> Self | None:
        """None where they are not known before a version's own schema is read."""
        try:
            info = registry.get(version.model_type if version else "")
        except registry.UnknownModelType:
            return None
        return cls(input=list(info.takes), output=list(info.gives)) if info.takes else None


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
    dimensions: int | None = Field(description="How many numbers its vectors have, once it was loaded.")
    cog_version: str = Field(description="Whose dialect the next one is.")
    openapi_schema: dict[str, Any] = Field(description="Input and output, as Replicate's clients expect it.")
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
            dimensions=row.dimensions,
            cog_version=openapi_schema.COG_VERSION,
            openapi_schema=openapi_schema.of_version(row),
            created_at=row.created_at,
            state=State.of(residency),
        )


class Model(BaseModel):
    """A model, and what it runs: its latest version, whose fields are null where there is none yet."""

    id: str = Field(description="owner/name")
    url: str
    owner: str
    name: str
    description: str
    visibility: Visibility
    links: dict[str, str]
    github_url: str | None
    paper_url: str | None
    license_url: str | None
    weights_url: str | None
    cover_image_url: str | None
    run_count: int = Field(description="How many predictions it was asked for, up to a minute or two ago.")
    is_official: bool = False
    default_example: dict[str, Any] | None = Field(description="A prediction that shows what it does.")
    model_type: str | None
    model_path: str | None
    version: str | None = Field(description="The latest version's label.")
    hardware: str | None
    input_schema: dict[str, Any] | None
    options: dict[str, Any] | None
    dimensions: int | None = Field(description="How many numbers its vectors have, once it was loaded.")
    modalities: Modalities | None
    state: State | None
    latest_version: Version | None
    created_at: Moment
    updated_at: Moment
    object: Literal["model"] = "model"
    created: int = Field(description="`created_at` in seconds since 1970, for OpenAI's clients.")
    owned_by: str = Field(description="`owner`, for OpenAI's clients.")

    @classmethod
    def of(
        cls,
        found: FoundModel,
        residency: Residency | None,
        request: Request,
        example: dict[str, Any] | None = None,
    ) -> Self:
        """`residency` is the latest version's, `example` the document of the default example."""
        model, row = found
        latest = Version.of(row, residency) if row and residency else None
        return cls(
            id=f"{model.owner}/{model.name}",
            url=absolute(request, f"/v1/models/{model.owner}/{model.name}"),
            owner=model.owner,
            name=model.name,
            description=model.description,
            visibility="private" if model.visibility == "private" else "public",
            links=model.links,
            **{name: model.links.get(name) for name in Links.model_fields},
            cover_image_url=model.cover_image_url,
            run_count=model.run_count,
            default_example=example,
            model_type=latest and latest.model_type,
            model_path=latest and latest.model_path,
            version=latest and latest.label,
            hardware=latest and latest.hardware,
            input_schema=latest and latest.input_schema,
            options=latest and latest.options,
            dimensions=latest and latest.dimensions,
            modalities=Modalities.of(row),
            state=latest and latest.state,
            latest_version=latest,
            created_at=model.created_at,
            updated_at=model.updated_at,
            created=int(model.created_at.timestamp()),
            owned_by=model.owner,
        )


class NamedModel(BaseModel):
    """A model as OpenAI's clients list it."""

    id: str = Field(description="owner/name")
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since 1970.")
    owned_by: str
    dimensions: int | None
    modalities: Modalities | None

    @classmethod
    def of(cls, model: Model) -> Self:
        return cls(**model.model_dump(include=set(cls.model_fields)))


class ModelPage(BaseModel):
    """A page of models, the newest first; `object` and `data` say the same as OpenAI's clients expect it."""

    results: list[Model]
    next: str | None
    previous: str | None
    object: Literal["list"] = "list"
    data: list[NamedModel]


class VersionPage(BaseModel):
    """A page of a model's versions, the newest first."""

    results: list[Version]
    next: str | None
    previous: str | None
