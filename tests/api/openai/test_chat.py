"""Chat completions, as OpenAI's client asks for them and as the queue sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from PIL import Image

from db.states import Priority
from tests.api.asking import scalar, until_queued
from tests.api.openai.conftest import MODEL, Scene, Stage, likelihood
from tests.api.streaming import write
from tests.model_types.pictures import data_uri

pytestmark = pytest.mark.anyio

OURS = "https://example.com/a.png"
PIECES: list[dict[str, Any]] = [
    {"text": "Hi", "tokens": [likelihood("Hi", -0.5, 0)]},
    {"text": " é!", "tokens": [likelihood(" é", -1.0, 2), likelihood("!", -2.0, 4, (".", -0.25))]},
]
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
PATH = "/v1/chat/completions"


def ask(client: AsyncOpenAI, **changes: Any) -> asyncio.Task[Any]:
    """A request that waits for its answer while the test goes on."""
    arguments: dict[str, Any] = {"model": MODEL, "messages": HELLO} | changes
    return asyncio.create_task(client.chat.completions.create(**arguments))


@pytest.mark.slow
async def test_a_conversation_is_one_prediction_and_its_tokens_are_counted(chat: Scene) -> None:
    asking = ask(
        chat.client,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
            {"role": "assistant", "content": "Three"},
            {"role": "user", "content": "Four", "name": "ann"},
        ],
        max_completion_tokens=5,
        temperature=0.5,
        top_p=0.9,
        stop="!",
        seed=-1,
        extra_body={"top_k": 7},
    )
    (lease,) = await chat.asked()
    assert lease.input == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "One\nTwo"},
            {"role": "assistant", "content": "Three"},
            {"role": "user", "content": "Four"},
        ],
        "max_new_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "stop": ["!"],
        "seed": 2**63 - 1,
    }
    await chat.answer(lease, "Five", input_token_count=40, output_token_count=5, finish_reason="length")
    completion = await asking
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Five")
    assert choice.finish_reason == "length"
    assert completion.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 40,
        "completion_tokens": 5,
        "total_tokens": 45,
    }
    assert completion.id == f"chatcmpl-{lease.id}"
    assert completion.model == MODEL
    assert completion.object == "chat.completion"


@pytest.mark.slow
async def test_each_choice_is_a_prediction_with_a_seed_of_its_own(chat: Scene) -> None:
    asking = ask(chat.client, n=3, seed=11)
    leases = await chat.asked(3)
    by_seed = sorted(leases, key=lambda lease: lease.input["seed"])
    assert [lease.input["seed"] for lease in by_seed] == [11, 12, 13]
    for lease in reversed(by_seed):
        text = f"with {lease.input['seed']}"
        await chat.answer(lease, text, input_token_count=9, output_token_count=2, finish_reason="stop")
    completion = await asking
    assert [choice.message.content for choice in completion.choices] == ["with 11", "with 12", "with 13"]
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (9, 6)


@pytest.mark.slow
async def test_a_stream_tells_pieces_as_they_come_then_why_it_ends_then_the_usage(chat: Scene) -> None:
    asking = ask(chat.client, stream=True, stream_options={"include_usage": True})
    await until_queued(chat.served, which="listened")
    (lease,) = await chat.asked()
    await write(chat.redis_url, lease.id, ("output", "Hel"))
    stream = aiter(await asking)
    chunks = [await anext(stream), await anext(stream)]
    await write(chat.redis_url, lease.id, ("logs", "not for clients\n"), ("output", "lo"))
    chunks.append(await anext(stream))
    await chat.answer(lease, "Hello!", input_token_count=3, output_token_count=2, finish_reason="stop")
    chunks += [chunk async for chunk in stream]
    *told, usage = chunks
    assert told[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in told[1:-1]] == ["Hel", "lo", "!"]
    assert [chunk.choices[0].finish_reason for chunk in told] == [None] * 4 + ["stop"]
    assert all(chunk.usage is None for chunk in told)
    assert usage.choices == []
    assert usage.usage.total_tokens == 5
    assert {chunk.id for chunk in chunks} == {f"chatcmpl-{lease.id}"}


@pytest.mark.slow
async def test_a_stream_of_several_choices_tells_each_by_its_number(chat: Scene) -> None:
    asking = ask(chat.client, stream=True, n=2, seed=0)
    leases = await chat.asked(2)
    for lease in leases:
        await chat.answer(lease, "ab"[lease.input["seed"]] * 3, finish_reason="stop")
    texts = ["", ""]
    reasons = []
    async for chunk in await asking:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        reasons.append(choice.finish_reason)
        assert "usage" not in chunk.model_fields_set
    assert texts == ["aaa", "bbb"]
    assert reasons.count("stop") == 2


@pytest.mark.slow
async def test_a_failure_before_the_first_piece_has_a_status_and_one_after_it_breaks_the_stream(
    chat: Scene,
) -> None:
    asking = ask(chat.client, stream=True)
    (lease,) = await chat.asked()
    await chat.fail(lease, "invalid_input", "the model has no chat template")
    with pytest.raises(openai.BadRequestError, match="no chat template"):
        await asking
    asking = ask(chat.client, stream=True)
    await until_queued(chat.served, which="listened")
    (lease,) = await chat.asked()
    await write(chat.redis_url, lease.id, ("output", "so far"))
    stream = await asking
    await chat.fail(lease, "model_error", "no luck")
    with pytest.raises(openai.APIError, match="no luck"):
        _ = [chunk async for chunk in stream]


@pytest.mark.slow
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_client_that_goes_away_cancels_its_predictions(chat: Scene, is_streamed: bool) -> None:
    asking = ask(chat.client, stream=is_streamed, n=2)
    leases = await chat.asked(2)
    if is_streamed:
        await write(chat.redis_url, leases[0].id, ("output", "so far"))
        stream = await asking
        await anext(aiter(stream))
        await stream.close()
    else:
        asking.cancel()
    await until_queued(chat.served, 0)
    assert await scalar(chat.served, "SELECT count(*) FROM predictions WHERE status = 'canceled'") == 2


@pytest.mark.slow
async def test_a_failed_choice_cancels_the_others(chat: Scene) -> None:
    asking = ask(chat.client, n=2)
    first, _ = await chat.asked(2)
    await chat.fail(first, "out_of_memory", "too large")
    with pytest.raises(openai.InternalServerError, match="too large") as caught:
        await asking
    assert caught.value.type == "server_error"
    assert caught.value.response.headers["x-should-retry"] == "false"
    await until_queued(chat.served, 0)


@pytest.mark.slow
async def test_a_repeated_idempotency_key_gives_the_same_choices(chat: Scene) -> None:
    headers = {"Idempotency-Key": "mine"}
    asking = ask(chat.client, n=2, extra_headers=headers)
    for lease in await chat.asked(2):
        await chat.answer(lease, lease.id)
    first, again = await asking, await ask(chat.client, n=2, extra_headers=headers)
    assert again.choices == first.choices
    assert await scalar(chat.served, "SELECT count(*) FROM predictions") == 2


@pytest.mark.slow
async def test_images_are_shown_to_a_model_that_looks_at_them(stage: Stage) -> None:
    picture = data_uri(Image.new("RGB", (8, 8)))
    one: dict[str, Any] = {"type": "image_url", "image_url": {"url": picture, "detail": "low"}}
    shown = {"type": "image", "image": picture}
    async with stage("image-to-text", inline_input_bytes=100_000) as scene:
        asking = ask(
            scene.client,
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "What is this?"}, one]},
            ],
            max_tokens=8,
        )
        (lease,) = await scene.asked()
        assert lease.input == {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                {"role": "user", "content": [{"type": "text", "text": "What is this?"}, shown]},
            ],
            "max_new_tokens": 8,
        }
        await scene.answer(lease, "Black.", input_token_count=70, output_token_count=2, finish_reason="stop")
        assert (await asking).choices[0].message.content == "Black."
        bare = {"type": "image_url", "image_url": picture}
        turns: list[Any] = [
            {"role": "user", "content": [one, bare]},
            {"role": "assistant", "content": "Two."},
            {"role": "user", "content": [{"type": "text", "text": "And now?"}, one]},
        ]
        asking = ask(scene.client, messages=turns)
        (lease,) = await scene.asked()
        assert [turn["role"] for turn in lease.input["messages"]] == ["user", "assistant", "user"]
        assert lease.input["messages"][0]["content"] == [shown, shown]
        assert lease.input["messages"][2]["content"] == [{"type": "text", "text": "And now?"}, shown]
        await scene.answer(lease, "Three.")
        await asking


@pytest.mark.slow
async def test_images_that_cannot_be_shown_are_refused_by_their_places(stage: Stage) -> None:
    async with stage("image-to-text") as scene:
        for url, param in (("data:image/png;base64,AAAA", "messages.0.content.1.image"), (OURS, "messages")):
            images = [{"type": "image_url", "image_url": url}] * (9 if url == OURS else 1)
            content = [{"type": "text", "text": "What is this?"}, *images]
            refused = await scene.post(PATH, messages=[{"role": "user", "content": content}])
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text


@pytest.mark.slow
async def test_an_answer_tells_how_likely_its_tokens_were(chat: Scene) -> None:
    asking = ask(chat.client, logprobs=True, top_logprobs=1)
    (lease,) = await chat.asked()
    assert lease.input["logprobs"] == 1
    await chat.answer(lease, PIECES, finish_reason="stop")
    (choice,) = (await asking).choices
    assert choice.message.content == "Hi é!"
    told = [(each.token, each.logprob, each.bytes) for each in choice.logprobs.content]
    assert told == [("Hi", -0.5, [72, 105]), (" é", -1.0, [32, 195, 169]), ("!", -2.0, [33])]
    (likeliest,) = choice.logprobs.content[2].top_logprobs
    assert (likeliest.token, likeliest.logprob) == (".", -0.25)
    assert "offset" not in choice.logprobs.content[0].to_dict()


@pytest.mark.slow
async def test_a_stream_tells_each_piece_with_its_tokens(chat: Scene) -> None:
    asking = ask(chat.client, logprobs=True, stream=True)
    await until_queued(chat.served, which="listened")
    (lease,) = await chat.asked()
    assert lease.input["logprobs"] == 0
    await write(chat.redis_url, lease.id, ("item", PIECES[0]))
    stream = aiter(await asking)
    chunks = [await anext(stream), await anext(stream)]
    await chat.answer(lease, PIECES, finish_reason="stop")
    chunks += [chunk async for chunk in stream]
    choices = [chunk.choices[0] for chunk in chunks]
    assert [choice.delta.content for choice in choices] == ["", "Hi", " é!", None]
    told = [choice.logprobs and [each.token for each in choice.logprobs.content] for choice in choices]
    assert told == [None, ["Hi"], [" é", "!"], None]


@pytest.mark.slow
async def test_an_answer_may_have_to_fit_a_schema(chat: Scene) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    named = {"name": "number", "schema": schema, "strict": True}
    for response_format, wanted in (
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": named}, schema),
    ):
        asking = ask(chat.client, response_format=response_format)
        (lease,) = await chat.asked()
        assert lease.input["json_schema"] == wanted
        await chat.answer(lease, '{"a": 1}')
        assert (await asking).choices[0].message.content == '{"a": 1}'


def format_of(**schema: Any) -> dict[str, Any]:
    """A request for JSON that fits this schema."""
    json_schema = {"name": "wanted", "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": json_schema}}


IMAGE = {"type": "image_url", "image_url": "https://example.com/a.png"}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("messages", {"messages": []}),
    ("messages", {"messages": None}),
    ("messages.0.role", {"messages": [{"role": "tool", "content": "x"}]}),
    ("messages.0.content", {"messages": [{"role": "user", "content": [IMAGE]}]}),
    ("messages.0.content.0", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}),
    ("messages.0.tool_calls", {"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}),
    ("tools", {"tools": [{"type": "function"}]}),
    ("logprobs", {"logprobs": 1}),
    ("top_logprobs", {"top_logprobs": 2}),
    ("top_logprobs", {"top_logprobs": 21, "logprobs": True}),
    ("response_format", {"response_format": {"type": "xml"}}),
    ("response_format.json_schema.json_schema", {"response_format": {"type": "json_schema"}}),
    ("response_format", format_of(type="strng")),
    ("response_format", format_of(**{"$ref": "http://127.0.0.1/schema"})),
    ("response_format", format_of(description="x" * 70_000)),
    ("modalities", {"modalities": ["text", "audio"]}),
    ("frequency_penalty", {"frequency_penalty": 0.5}),
    ("n", {"n": 0}),
    ("temperature", {"temperature": 3}),
    ("temperature", {"temperature": "hot"}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_completion_tokens", {"max_completion_tokens": 5000}),
    ("stop", {"stop": ["a", "b", "c", "d", "e"]}),
    ("surprise", {"surprise": 1}),
]


@pytest.mark.slow
async def test_what_a_model_cannot_do_is_refused_by_the_parameters_name(chat: Scene) -> None:
    for param, changes in REFUSED:
        response = await chat.post(PATH, **{"messages": HELLO} | changes)
        error = response.json()["error"]
        assert (response.status_code, error["type"]) == (400, "invalid_request_error"), changes
        assert error["param"] == param
        assert error["message"].startswith(param)
    assert await scalar(chat.served, "SELECT count(*) FROM predictions") == 0


@pytest.mark.slow
async def test_known_parameters_are_let_pass_and_flex_lets_others_go_first(
    chat: Scene,
) -> None:
    asking = ask(
        chat.client,
        user="ann",
        service_tier="flex",
        store=True,
        metadata={"a": "b"},
        logprobs=False,
        frequency_penalty=0,
        response_format={"type": "text"},
        tools=[],
        tool_choice="none",
        modalities=["text"],
        reasoning_effort="low",
        extra_body={"stop": None, "max_tokens": None, "stream": None},
    )
    (lease,) = await chat.asked()
    assert lease.input.keys() == {"messages"}
    assert await scalar(chat.served, "SELECT priority FROM queue") == Priority.FLEX
    await chat.answer(lease, "Hi")
    assert (await asking).choices[0].message.content == "Hi"
