"""Replicate's client for Python at work on your own machine.

pip install replicate==1.0.7
export REPLICATE_API_TOKEN=…                         # `make run` prints it
export REPLICATE_BASE_URL=http://127.0.0.1:8000      # without /v1, for this client
python examples/replicate_python.py
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import replicate
from replicate.exceptions import ModelError

ALICE = {"prompt": "Alice was beginning to get", "max_new_tokens": 48, "temperature": 0}
DIGIT = Path(__file__).parent / "demo_models" / "digits" / "samples" / "7.png"


def say(what: str, result: object) -> None:
    print(f"{what:10} {result}", flush=True)


def main() -> None:
    say("run", "".join(replicate.run("demo/recital", input=ALICE)))
    say("async", "".join(asyncio.run(replicate.async_run("demo/recital", input=ALICE))))

    chunks = [str(event) for event in replicate.stream("demo/recital", input=ALICE)]
    say("stream", "|".join(chunk for chunk in chunks if chunk))

    with DIGIT.open("rb") as picture:
        likeliest = replicate.run("demo/digits", input={"image": picture})[0]
    say("file", f"{DIGIT.name} shows a {likeliest['label']}")

    prediction = replicate.models.predictions.create("demo/echo", {"text": "no hurry", "sleep": 0.5})
    prediction.wait()
    say("wait", f"{prediction.status} after {prediction.metrics['total_time']:.1f} s")

    endless = replicate.models.predictions.create("demo/echo", {"text": "", "sleep": 60, "steps": 600})
    endless.cancel()
    say("cancel", endless.status)

    try:
        replicate.run("demo/echo", input={"text": "", "fail": "It was too dark to see."})
    except ModelError as error:
        say("error", error)

    say("list", f"{len(replicate.predictions.list())} predictions on the first page")


if __name__ == "__main__":
    main()
