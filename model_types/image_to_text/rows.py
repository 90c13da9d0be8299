"""What every row here has of its request: its images, its limits, and how its tokens are drawn."""

from __future__ import annotations

import secrets
from typing import TypedDict

from PIL.Image import Image

from model_types.image_to_text.schema import Input


class Sampling(TypedDict):
    """The fields of a `Row` that a request decides alone."""

    temperature: float
    top_p: float
    top_k: int
    seed: int
    stop: tuple[str, ...]
    is_stripped: bool


def sampling(request: Input) -> Sampling:
    """How the request's tokens are drawn, and what ends its text; a random seed where it gives none."""
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        seed=secrets.randbits(63) if request.seed is None else request.seed,
        stop=request.stop_strings,
        is_stripped=True,
    )


def pictures(request: Input) -> list[Image]:
    """The request's decoded images, in order."""
    return [file.content for file in request.all_images]


def one_question(request: Input) -> Input:
    """The request without a conversation, for models that answer one question in plain text.

    What the system says comes before the question. `ValueError` where it asks for more.
    """
    if request.logprobs is not None:
        raise ValueError("this model cannot tell how likely its tokens are: leave out `logprobs`")
    if request.json_schema is not None:
        raise ValueError("this model cannot be held to a `json_schema`")
    if request.messages is None:
        return request
    *before, question = request.messages
    if question.role != "user" or any(turn.role != "system" for turn in before):
        raise ValueError("this model answers one question: give it one turn of the user")
    if not request.all_images:
        raise ValueError("this model looks at an image: give it one")
    prompt = "\n\n".join(turn.text for turn in request.messages if turn.text)
    return request.model_copy(
        update={"messages": None, "images": request.all_images, "prompt": prompt or None}
    )


def only_picture(request: Input) -> Image:
    """The request's one image. `ValueError` where it has several."""
    first, *others = pictures(request)
    if others:
        raise ValueError("this model looks at one image at a time: give it `image` instead of `images`")
    return first


def new_tokens(request: Input, prompt_tokens: int, context_tokens: int | None) -> int:
    """How many tokens may be written. `ValueError` where the prompt leaves no room for any."""
    if context_tokens is None:
        return request.max_new_tokens
    if prompt_tokens >= context_tokens:
        raise ValueError(
            f"the images and the prompt have {prompt_tokens} tokens, which fill the model's context of "
            f"{context_tokens} tokens"
        )
    return min(request.max_new_tokens, context_tokens - prompt_tokens)
