"""Many clients of OpenAI at once, by its own library, in a process of their own.

Reads one `Task` after the other from standard input and answers each with `Told`, as lines of JSON.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Route = Literal["embeddings", "chat"]


class Task(msgspec.Struct, frozen=True):
    """Send each text to a model; each of so many clients waits for an answer before it sends the next."""

    route: Route
    base_url: str
    token: str
    model: str
    texts: Sequence[str]
    max_tokens: int
    clients: int


class Told(msgspec.Struct, frozen=True):
    """What was answered, in the order of the texts: vectors, or texts; and how long each took."""

    answers: Sequence[Any]
    latencies_ms: Sequence[float]


async def run(task: Task) -> Told:
    """Raises `openai.OpenAIError` for what is refused: nothing is tried again."""
    from openai import AsyncOpenAI

    waiting = iter(enumerate(task.texts))
    told: dict[int, tuple[Any, float]] = {}
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                AsyncOpenAI(base_url=task.base_url, api_key=task.token, max_retries=0)
            )
            for _ in range(min(task.clients, len(task.texts)))
        ]
        # Connected beforehand: that is not what is measured.
        await asyncio.gather(*(client.models.list() for client in clients))
        await asyncio.gather(*(_work(client, task, waiting, told) for client in clients))
    answers = [told[number] for number in range(len(task.texts))]
    return Told([answer for answer, _ in answers], [milliseconds for _, milliseconds in answers])


async def _work(
    client: AsyncOpenAI, task: Task, waiting: Iterator[tuple[int, str]], told: dict[int, tuple[Any, float]]
) -> None:
    for number, text in waiting:
        sent_at = time.perf_counter()
        answer = await _ask(client, task, text)
        told[number] = answer, (time.perf_counter() - sent_at) * 1000


async def _ask(client: AsyncOpenAI, task: Task, text: str) -> Any:
    if task.route == "embeddings":
        embedded = await client.embeddings.create(model=task.model, input=text)
        return embedded.data[0].embedding
    written = await client.chat.completions.create(
        model=task.model,
        messages=[{"role": "user", "content": text}],
        max_tokens=task.max_tokens,
        temperature=0,
    )
    return written.choices[0].message.content


def main() -> None:
    """Serve tasks."""
    for line in sys.stdin.buffer:
        told = asyncio.run(run(msgspec.json.decode(line, type=Task)))
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
