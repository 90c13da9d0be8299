"""Load on /v1/embeddings: how soon it answers, and how many texts it embeds."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

import click
import httpx

from benchmarks.trials import Reply, Script, Trial, conduct, option, options, post

PATH = "/v1/embeddings"


@click.command(cls=Script, help=__doc__)
@options
@option("--text", envvar="TEXT", default="What is the use of a book without pictures?")
@option("--texts-per-request", envvar="TEXTS_PER_REQUEST", type=click.IntRange(1), default=1)
def main(text: str, texts_per_request: int, **trial: Any) -> None:
    async def ask(http: httpx.AsyncClient, model: str) -> Reply:
        # A server may remember texts, so no two are equal.
        texts = [f"{text} {token_hex(4)}" for _ in range(texts_per_request)]
        answer = await post(http, PATH, json={"model": model, "input": texts})
        return Reply(len(answer["data"]))

    conduct(Trial(**trial), ask, unit="texts")


if __name__ == "__main__":
    main()
