"""Conversations as inputs of models: of those that write texts, and of those that look at images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.compat.openai.schemas.chat import ChatMessage, ChatRequest, ImagePart, TextPart
from api.errors import Invalid

# What the fields of the models' inputs are called in a request.
PARAMETERS = {"input": "messages", "json_schema": "response_format"}

_ROLES = {"developer": "system"}


def conversation(body: ChatRequest, model_type: str) -> Mapping[str, Any]:
    """What the model is to answer, without how. Raises `Invalid`."""
    seen_as = _looked_at if model_type == "image-to-text" else _read
    contents = [seen_as(index, message) for index, message in enumerate(body.messages)]
    roles = [_ROLES.get(message.role, message.role) for message in body.messages]
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    return {"messages": turns}


def _read(index: int, message: ChatMessage) -> str:
    """A turn for those who read texts alone."""
    if message.images:
        raise Invalid([(f"messages.{index}.content", "holds an image, and this model reads texts alone")])
    return message.text


def _looked_at(_: int, message: ChatMessage) -> list[dict[str, str]]:
    """A turn with its images at their places."""
    return [_part(part) for part in message.content]


def _part(part: TextPart | ImagePart) -> dict[str, str]:
    if isinstance(part, ImagePart):
        return {"type": "image", "image": part.image_url.url}
    return {"type": "text", "text": part.text}
