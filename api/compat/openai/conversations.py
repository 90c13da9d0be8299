"""Conversations as inputs of models: of those that write texts, and of those that look at images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.compat.openai.schemas.chat import ChatMessage, ChatRequest
from api.errors import Invalid

# What the fields of the models' inputs are called in a request.
PARAMETERS = {"prompt": "messages", "image": "messages", "images": "messages"}

_ROLES = {"developer": "system"}


def conversation(body: ChatRequest, model_type: str) -> Mapping[str, Any]:
    """What the model is to answer, without how. Raises `Invalid`."""
    return _looked_at(body.messages) if model_type == "image-to-text" else _read(body.messages)


def _read(messages: list[ChatMessage]) -> Mapping[str, Any]:
    """Texts alone, all turns of them."""
    for index, message in enumerate(messages):
        if message.images:
            raise Invalid([(f"messages.{index}.content", "holds an image, and this model reads texts alone")])
    turns = [{"role": _ROLES.get(turn.role, turn.role), "content": turn.text} for turn in messages]
    return {"messages": turns}


def _looked_at(messages: list[ChatMessage]) -> Mapping[str, Any]:
    """Images and what is asked about them, in one turn; what the system says comes before."""
    *before, question = messages
    if question.role != "user" or any(turn.role in ("user", "assistant") for turn in before):
        raise Invalid([("messages", "must have one turn of the user: models for images answer one question")])
    images = [image for turn in messages for image in turn.images]
    if not images:
        raise Invalid([("messages", "must have an image for this model: a part of the type image_url")])
    prompt = "\n\n".join(turn.text for turn in messages if turn.text)
    shown: dict[str, Any] = {"image": images[0]} if len(images) == 1 else {"images": images}
    return shown | ({"prompt": prompt} if prompt else {})
