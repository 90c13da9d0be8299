"""Load on /v1/chat/completions: how soon it answers, and how many tokens it writes."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import click
import httpx
import msgspec

from benchmarks.trials import Reply, Script, Trial, conduct, option, options, post

PATH = "/v1/chat/completions"


@click.command(cls=Script, help=__doc__)
@options
@option("--prompt", envvar="PROMPT", default="Who are you?")
@option("--max-tokens", envvar="MAX_TOKENS", type=click.IntRange(1), default=64)
@option("--stream", envvar="STREAM", is_flag=True, help="Read the answer in pieces, and time the first.")
def main(prompt: str, max_tokens: int, stream: bool, **trial: Any) -> None:
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
    conduct(Trial(**trial), partial(_streamed if stream else _whole, body), unit="tokens")


async def _whole(body: dict[str, Any], http: httpx.AsyncClient, model: str) -> Reply:
    answer = await post(http, PATH, json={"model": model, **body})
    return Reply(answer["usage"]["completion_tokens"])


async def _streamed(body: dict[str, Any], http: httpx.AsyncClient, model: str) -> Reply:
    asked = {"model": model, **body, "stream": True, "stream_options": {"include_usage": True}}
    tokens, first_at = 0, None
    async with http.stream("POST", PATH, json=asked) as response:
        if response.is_error:
            await response.aread()
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = msgspec.json.decode(line.removeprefix("data: "))
            if "error" in chunk:
                raise httpx.RemoteProtocolError(chunk["error"]["message"])
            if first_at is None and any(choice["delta"].get("content") for choice in chunk["choices"]):
                first_at = time.perf_counter()
            if chunk.get("usage"):
                tokens = chunk["usage"]["completion_tokens"]
    return Reply(tokens, first_at)


if __name__ == "__main__":
    main()
