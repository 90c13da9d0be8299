"""Inference on one image, by models that find objects in it, classify it or write about it."""

from __future__ import annotations

from typing import Any, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.compat.openai.requests import admitted, described
from api.compat.openai.running import call

router = APIRouter(tags=["inference"])

MODEL_TYPES = ("object-detection", "image-to-text", "classification")


class InferenceRequest(BaseModel):
    """An image, by its URL or by its bytes, and what to do with it."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    model_id: str = Field(description="owner/name, or a name alone where it is one public model's.")
    image_url: str | None = Field(None, description="Where the image is: http(s), or a `data:` URI.")
    image_base64: str | None = Field(None, description="The image's bytes in base64.")
    prompt: str | None = Field(None, description="A question, for models that write about images.")

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        if (self.image_url is None) == (self.image_base64 is None):
            raise ValueError("must have exactly one of image_url and image_base64")
        return self


class Inference(BaseModel):
    """What a model makes of an image: the `output` of the prediction with this `id`."""

    model_config = ConfigDict(protected_namespaces=())

    id: str
    model_id: str = Field(description="As it was asked for.")
    model_type: str
    output: Any


@router.post("/inference", response_model=Inference, openapi_extra=described(InferenceRequest))
async def create(request: Request) -> Inference:
    """Ask a model about an image, and wait for what it says."""
    principal, body = await admitted(request, InferenceRequest)
    field = "image_url" if body.image_base64 is None else "image_base64"
    parameters = {"model": "model_id", "image": field}
    asked = await call(request, principal, body.model_id, MODEL_TYPES, parameters)
    question = {"prompt": body.prompt} if body.prompt else {}
    (record,) = await asked.run([{"image": getattr(body, field), **question}])
    return Inference(
        id=record.id, model_id=body.model_id, model_type=asked.version.model_type, output=record.output
    )
