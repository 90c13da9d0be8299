"""Batches: OpenAI's own client sends files of requests, and gets files of answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import openai
import pytest
from openai.types import Batch

from db.states import Priority
from tests.api.asking import scalar
from tests.api.openai.conftest import MODEL, Scene, Stage

pytestmark = pytest.mark.anyio

ENDPOINT: Final = "/v1/completions"

Lines = Sequence[dict[str, Any] | str]


@pytest.fixture
async def writer(stage: Stage) -> AsyncIterator[Scene]:
    """A model that writes texts, and a small window of batches into the queue."""
    async with stage("text-generation", batch_queue_rows=4, batch_max_lines=20) as scene:
        yield scene


def request(custom_id: str = "a", **changes: Any) -> dict[str, Any]:
    """A line that fits."""
    line = {
        "custom_id": custom_id,
        "method": "POST",
        "url": ENDPOINT,
        "body": {"model": MODEL, "prompt": custom_id},
    }
    return line | changes


def jsonl(lines: Lines) -> bytes:
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()


async def begin(scene: Scene, lines: Lines, **fields: Any) -> Batch:
    """Upload the lines, and have them done."""
    file = await scene.client.files.create(file=("input.jsonl", jsonl(lines)), purpose="batch")
    asked: dict[str, Any] = {"endpoint": ENDPOINT, "completion_window": "24h"} | fields
    return await scene.client.batches.create(input_file_id=file.id, **asked)


async def until(scene: Scene, batch: Batch, *statuses: str) -> Batch:
    async with asyncio.timeout(60):
        while batch.status not in statuses:
            await asyncio.sleep(0.05)
            batch = await scene.client.batches.retrieve(batch.id)
    return batch


async def lines_of(scene: Scene, file_id: str | None) -> dict[str, Any]:
    """The lines of a file by their requests."""
    assert file_id is not None
    content = await scene.client.files.content(file_id)
    lines = [json.loads(line) for line in content.text.splitlines()]
    assert len({line["custom_id"] for line in lines}) == len(lines)
    return {line["custom_id"]: line for line in lines}


async def answer_all(scene: Scene, count: int) -> None:
    """The lane writes each prompt in capital letters."""
    while count:
        leases = await scene.lane.claim_when_asked()
        assert len(leases) <= 4, "no more are in the queue than the window has"
        for lease in leases:
            await scene.answer(
                lease, lease.input["prompt"].upper(), input_token_count=2, output_token_count=3
            )
        count -= len(leases)


@pytest.mark.slow
async def test_every_request_of_a_batch_is_answered_as_its_route_answers(writer: Scene) -> None:
    lines = [request(str(number)) for number in range(9)]
    lines.append(request("two", body={"model": MODEL, "prompt": ["x", "y"], "n": 1}))
    batch = await begin(writer, lines, metadata={"for": "test"})
    assert (batch.status, batch.object, batch.metadata) == ("validating", "batch", {"for": "test"})
    assert batch.expires_at == batch.created_at + 24 * 3600

    await answer_all(writer, 11)
    batch = await until(writer, batch, "completed")
    assert batch.errors is None
    assert batch.error_file_id is None
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 10, "completed": 10, "failed": 0}
    assert batch.usage is not None
    assert (batch.usage.input_tokens, batch.usage.output_tokens, batch.usage.total_tokens) == (22, 33, 55)
    assert batch.in_progress_at <= batch.finalizing_at <= batch.completed_at  # type: ignore[operator]

    answers = await lines_of(writer, batch.output_file_id)
    assert list(answers) == [*map(str, range(9)), "two"]
    told = answers["two"]
    assert told["id"] == told["response"]["request_id"]
    assert told["error"] is None
    body = told["response"]["body"]
    assert told["response"]["status_code"] == 200
    assert body["object"] == "text_completion"
    assert [choice["text"] for choice in body["choices"]] == ["X", "Y"]
    assert body["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}
    prediction = await writer.http.get(
        f"/v1/predictions/{body['id'].removeprefix('cmpl-')}", headers=writer.root
    )
    assert prediction.json()["output"] == "X"

    asking = asyncio.create_task(writer.client.completions.create(model=MODEL, prompt=["x", "y"]))
    for lease in await writer.asked(2):
        await writer.answer(lease, lease.input["prompt"].upper(), input_token_count=2, output_token_count=3)
    direct = (await asking).to_dict()
    own = ("id", "created")
    assert {name: value for name, value in body.items() if name not in own} == {
        name: value for name, value in direct.items() if name not in own
    }


CHAT = {"messages": [{"role": "user", "content": "Hello"}], "n": 2, "max_completion_tokens": 5}
EMBEDDINGS = {"input": ["a", "b", "a"], "encoding_format": "base64"}
RERANK = {"query": "q", "documents": ["d", "e"], "return_documents": True}
RANKED = [{"index": 1, "relevance_score": 0.5, "document": {"text": "e"}}]
LABELS = [{"label": "toxic", "score": 0.75}]
# Of each route: the model's type and options, a request's body, and what the model gives for each input.
ROUTES: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[Any]]] = {
    "/v1/chat/completions": ("text-generation", {}, CHAT, ["Yes.", "No."]),
    "/v1/embeddings": ("embeddings", {}, EMBEDDINGS, [[[1.0, 2.0], [3.0, 4.0]]]),
    "/v1/rerank": ("rerank", {}, RERANK, [RANKED]),
    "/v1/moderations": ("classification", {"moderation": {"toxic": 0.5}}, {"input": "x"}, [LABELS]),
}


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ROUTES)
async def test_a_line_is_answered_like_a_request(stage: Stage, endpoint: str) -> None:
    model_type, options, body, outputs = ROUTES[endpoint]
    async with stage(model_type, options=options) as scene:

        async def give() -> None:
            for lease, output in zip(await scene.asked(len(outputs)), outputs, strict=True):
                await scene.answer(lease, output, input_token_count=2, output_token_count=3)

        asking = asyncio.create_task(scene.post(endpoint, **body))
        await give()
        direct = (await asking).json()
        batch = await begin(scene, [request(url=endpoint, body={"model": MODEL} | body)], endpoint=endpoint)
        await give()
        batch = await until(scene, batch, "completed")
        (line,) = (await lines_of(scene, batch.output_file_id)).values()
    told = line["response"]["body"]
    for answer in (direct, told):
        for its_own in ("id", "created"):
            answer.pop(its_own, None)
    assert told == direct


@pytest.mark.slow
async def test_rows_of_a_batch_wait_behind_all_others(writer: Scene) -> None:
    batch = await begin(writer, [request(str(number)) for number in range(3)])
    leases = await writer.asked(3)
    assert await scalar(writer.served, "SELECT min(priority) FROM queue") == Priority.BATCH
    for lease in leases:
        await writer.answer(lease, "…")
    await until(writer, batch, "completed")


WRONG: list[tuple[dict[str, Any] | str, str, str | None]] = [
    ("{", "invalid_json_line", None),
    ("[]", "invalid_json_line", None),
    (
        {"method": "POST", "url": ENDPOINT, "body": request()["body"]},
        "missing_required_parameter",
        "custom_id",
    ),
    (request("a"), "duplicate_custom_id", "custom_id"),
    (request("b") | {"custom_id": 7}, "invalid_custom_id", "custom_id"),
    (request("c", method="GET"), "invalid_method", "method"),
    (request("d", url="/v1/embeddings"), "invalid_url", "url"),
    (request("e", priority=1), "unknown_parameter", "priority"),
    (request("f", body={"model": "root/none", "prompt": ""}), "model_not_found", "body.model"),
    (request("g", body={"model": MODEL}), "invalid_request", "body.prompt"),
    (request("h", body={"model": MODEL, "prompt": "x", "stream": True}), "invalid_request", "body.stream"),
    (
        request("i", body={"model": MODEL, "prompt": "x", "max_tokens": 0}),
        "invalid_request",
        "body.max_tokens",
    ),
    (request("j", body={"model": MODEL, "prompt": "x", "n": 200}), "invalid_request", "body.n"),
]


@pytest.mark.slow
async def test_all_that_is_wrong_with_the_lines_is_told_and_none_of_them_runs(writer: Scene) -> None:
    batch = await begin(writer, [request("a"), "  ", *(line for line, _, _ in WRONG)])
    batch = await until(writer, batch, "failed")
    assert batch.failed_at is not None
    assert batch.errors is not None
    assert batch.errors.data is not None
    told = [(error.line, error.code, error.param) for error in batch.errors.data]
    assert told == [(number, code, param) for number, (_, code, param) in enumerate(WRONG, start=3)]
    assert all(error.message for error in batch.errors.data)
    assert await scalar(writer.served, "SELECT count(*) FROM predictions") == 0
    assert await scalar(writer.served, "SELECT count(*) FROM batch_lines") == 0


@pytest.mark.slow
async def test_a_file_may_be_empty_or_too_long(writer: Scene) -> None:
    wrong: dict[str, Lines] = {
        "empty_file": ["\n"],
        "too_many_lines": [request(str(number)) for number in range(21)],
    }
    for code, lines in wrong.items():
        batch = await until(writer, await begin(writer, lines), "failed")
        assert batch.errors is not None
        assert [error.code for error in batch.errors.data or ()] == [code]


@pytest.mark.slow
async def test_requests_that_fail_are_in_the_error_file(writer: Scene) -> None:
    lines = [request("good"), request("bad"), request("part", body={"model": MODEL, "prompt": ["p", "q"]})]
    batch = await begin(writer, lines)
    for lease in await writer.asked(4):
        if lease.input["prompt"] in ("bad", "p"):
            await writer.fail(lease, "model_error", "It broke.")
        elif lease.input["prompt"] == "good":
            await writer.answer(lease, "fine")
    batch = await until(writer, batch, "completed")
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 3, "completed": 1, "failed": 2}
    assert list(await lines_of(writer, batch.output_file_id)) == ["good"]
    failed = await lines_of(writer, batch.error_file_id)
    assert sorted(failed) == ["bad", "part"]
    for line in failed.values():
        assert line["error"] is None
        assert line["response"]["status_code"] == 500
        assert line["response"]["body"]["error"]["message"] == "It broke."
    assert await scalar(writer.served, "SELECT count(*) FROM queue") == 0, "what is of no use is canceled"


@pytest.mark.slow
async def test_a_cancelled_batch_keeps_what_was_done(writer: Scene) -> None:
    batch = await begin(writer, [request(str(number)) for number in range(10)])
    first, second, *_ = await writer.asked(4)
    await writer.answer(first, "one")
    await writer.answer(second, "two")
    cancelling = await writer.client.batches.cancel(batch.id)
    assert cancelling.status == "cancelling"
    assert cancelling.cancelling_at is not None
    batch = await until(writer, batch, "cancelled")
    assert sorted(await lines_of(writer, batch.output_file_id)) == ["0", "1"]
    undone = await lines_of(writer, batch.error_file_id)
    assert Counter(line["error"]["code"] for line in undone.values()) == {"batch_cancelled": 8}
    assert await scalar(writer.served, "SELECT count(*) FROM queue") == 0
    with pytest.raises(openai.BadRequestError, match="it is cancelled"):
        await writer.client.batches.cancel(batch.id)


@pytest.mark.slow
async def test_when_its_time_is_up_a_batch_ends_with_what_was_done(writer: Scene) -> None:
    batch = await begin(writer, [request(str(number)) for number in range(6)])
    first, *_ = await writer.asked(4)
    await writer.answer(first, "one")
    async with writer.served.gateway.engine.connect() as connection:
        await connection.exec_driver_sql("UPDATE batches SET expires_at = now()")
    batch = await until(writer, batch, "expired")
    assert batch.expired_at is not None
    assert list(await lines_of(writer, batch.output_file_id)) == ["0"]
    undone = await lines_of(writer, batch.error_file_id)
    assert Counter(line["error"]["code"] for line in undone.values()) == {"batch_expired": 5}


@pytest.mark.slow
async def test_batches_are_ones_own_and_are_listed(writer: Scene) -> None:
    first = await until(writer, await begin(writer, ["{"]), "failed")
    second = await until(writer, await begin(writer, ["["]), "failed")
    assert [batch.id async for batch in writer.client.batches.list(limit=1)] == [second.id, first.id]
    page = await writer.client.batches.list(limit=1, after=second.id)
    assert ([batch.id for batch in page.data], page.has_more) == ([first.id], False)
    other = await writer.served.person("mallory")
    mallory = writer.client.with_options(api_key=other["Authorization"].removeprefix("Bearer "))
    assert [batch.id async for batch in mallory.batches.list()] == []
    for asked in (mallory.batches.retrieve(first.id), mallory.batches.cancel(first.id)):
        with pytest.raises(openai.NotFoundError):
            await asked
    with pytest.raises(openai.BadRequestError, match="is no file of yours"):
        await mallory.batches.create(
            input_file_id=first.input_file_id, endpoint=ENDPOINT, completion_window="24h"
        )


@pytest.mark.slow
async def test_a_batch_needs_a_file_for_batches_and_a_route_that_there_is(writer: Scene) -> None:
    file = await writer.client.files.create(file=b"{}", purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="not uploaded for the purpose") as refused:
        await writer.client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")
    assert refused.value.param == "input_file_id"
    with pytest.raises(openai.BadRequestError, match="endpoint"):
        await writer.client.batches.create(
            input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
        )


@pytest.mark.slow
async def test_nobody_has_more_batches_under_way_than_may_be(stage: Stage) -> None:
    async with stage("text-generation", batches_per_user=1) as scene:
        batch = await begin(scene, [request("1")])
        with pytest.raises(openai.RateLimitError):
            await begin(scene, [request("2")])
        (lease,) = await scene.asked()
        await scene.answer(lease, "…")
        await until(scene, batch, "completed")
        assert (await begin(scene, ["{"])).status == "validating"


@pytest.mark.slow
async def test_the_input_of_a_batch_stays_until_it_has_ended(writer: Scene) -> None:
    batch = await begin(writer, [request("1")])
    with pytest.raises(openai.ConflictError):
        await writer.client.files.delete(batch.input_file_id)
    async with writer.served.gateway.engine.connect() as connection:
        await connection.exec_driver_sql("UPDATE files SET expires_at = now()")
    assert (await writer.client.files.retrieve(batch.input_file_id)).filename == "input.jsonl"
    (lease,) = await writer.asked()
    await writer.answer(lease, "…")
    batch = await until(writer, batch, "completed")
    with pytest.raises(openai.NotFoundError):
        await writer.client.files.retrieve(batch.input_file_id)
