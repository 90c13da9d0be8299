"""The first prediction that a newcomer sees, which shows that everything works."""

from __future__ import annotations

from typing import Any

from cli.client import Client
from cli.errors import Fault
from cli.screen import Screen

FIRST_INPUT = {"prompt": "Alice was beginning to get", "max_new_tokens": 64, "temperature": 0}
_WAIT_SECONDS = 60


class DemoFailed(Fault):
    """The demonstration's prediction did not succeed."""


def show_prediction(client: Client, screen: Screen) -> str:
    """Make one real prediction over HTTP, print its input, output and timing, and return its id.

    Raises DemoFailed.
    """
    with screen.step("Making a first prediction with demo/recital", "demo/recital has answered"):
        prediction = client.predict("demo/recital", FIRST_INPUT, wait_seconds=_WAIT_SECONDS)
    if prediction["status"] != "succeeded":
        reason = prediction.get("error") or f"it has not ended in {_WAIT_SECONDS} s"
        raise DemoFailed(f"The first prediction is {prediction['status']}: {reason}.")
    screen.heading(f"Prediction {prediction['id']}")
    screen.say(f"  input   {FIRST_INPUT['prompt']}")
    screen.say(f"  output  {' '.join(str(prediction['output']).split())}")
    screen.say(f"  timing  {_timing(prediction)}")
    return str(prediction["id"])


def _timing(prediction: dict[str, Any]) -> str:
    metrics = prediction.get("metrics") or {}
    known = {"predict_time": "computing", "queue_time": "waiting", "total_time": "in all"}
    parts = [f"{metrics[name]:.3f} s {meaning}" for name, meaning in known.items() if name in metrics]
    return ", ".join(parts) or "not measured"
