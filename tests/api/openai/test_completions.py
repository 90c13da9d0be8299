"""Completions of prompts, as OpenAI's client asks for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.asking import until_queued
from tests.api.openai.conftest import MODEL, Scene, likelihood
from tests.api.streaming import write

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_each_prompt_has_its_choices_in_order_and_counts_once(chat: Scene) -> None:
    asking = asyncio.create_task(
        chat.client.completions.create(
            model=MODEL, prompt=["Alice was", "The Queen"], n=2, max_tokens=3, seed=5
        )
    )
    for lease in await chat.asked(4):
        prompt, seed = lease.input["prompt"], lease.input["seed"]
        assert lease.input["max_new_tokens"] == 3
        tokens = len(prompt)
        await chat.answer(
            lease, f"{prompt} {seed}", input_token_count=tokens, output_token_count=3, finish_reason="length"
        )
    completion = await asking
    assert [choice.text for choice in completion.choices] == [
        "Alice was 5",
        "Alice was 6",
        "The Queen 5",
        "The Queen 6",
    ]
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert {choice.finish_reason for choice in completion.choices} == {"length"}
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (18, 12)


@pytest.mark.slow
async def test_a_continuation_is_told_while_it_is_written(chat: Scene) -> None:
    asking = asyncio.create_task(
        chat.client.completions.create(
            model=MODEL, prompt="Alice", stream=True, stream_options={"include_usage": True}
        )
    )
    await until_queued(chat.served, which="listened")
    (lease,) = await chat.asked()
    await write(chat.redis_url, lease.id, ("output", " was"))
    stream = aiter(await asking)
    chunks = [await anext(stream)]
    await chat.answer(lease, " was tired", input_token_count=1, output_token_count=2, finish_reason="stop")
    chunks += [chunk async for chunk in stream]
    *told, usage = chunks
    assert [chunk.choices[0].text for chunk in told] == [" was", " tired", ""]
    assert told[-1].choices[0].finish_reason == "stop"
    assert usage.usage is not None
    assert usage.usage.total_tokens == 3


@pytest.mark.slow
async def test_a_continuation_tells_its_tokens_in_lists(chat: Scene) -> None:
    pieces = [
        {"text": " was", "tokens": [likelihood(" was", -0.5, 0, (" is", -0.3), (" was", -0.5))]},
        {"text": "!", "tokens": [likelihood("!", -1.5, 4, (".", -0.25))]},
    ]
    for stream in (False, True):
        asking = asyncio.create_task(
            chat.client.completions.create(model=MODEL, prompt="Alice", logprobs=2, stream=stream)
        )
        (lease,) = await chat.asked()
        assert lease.input["logprobs"] == 2
        await chat.answer(lease, pieces, finish_reason="stop")
        answer: Any = await asking
        answers = [chunk async for chunk in answer] if stream else [answer]
        told = [each.choices[0].logprobs for each in answers if each.choices[0].logprobs]
        assert "".join(each.choices[0].text for each in answers) == " was!"
        assert [token for each in told for token in each.tokens] == [" was", "!"]
        assert [odds for each in told for odds in each.token_logprobs] == [-0.5, -1.5]
        assert [place for each in told for place in each.text_offset] == [0, 4]
        likeliest = [top for each in told for top in each.top_logprobs]
        assert likeliest == [{" is": -0.3, " was": -0.5}, {".": -0.25, "!": -1.5}]


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("prompt", {"prompt": [1, 2, 3]}),
    ("prompt", {"prompt": [[1, 2], [3]]}),
    ("prompt", {"prompt": []}),
    ("n", {"prompt": ["a", "b"], "n": 100}),
    ("suffix", {"suffix": "!"}),
    ("logprobs", {"logprobs": 21}),
    ("echo", {"echo": True}),
    ("best_of", {"best_of": 3}),
]


@pytest.mark.slow
async def test_what_prompts_cannot_have_is_refused(chat: Scene) -> None:
    for param, changes in REFUSED:
        response = await chat.post("/v1/completions", **{"prompt": "Alice"} | changes)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param), changes
