"""The models that a newcomer finds, and the first prediction that shows they work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import examples
from cli.client import Client
from cli.errors import Fault
from cli.screen import Screen

RECITAL = Path(examples.__file__).parent / "demo_models" / "recital"
FIRST_INPUT = {"prompt": "Alice was beginning to get", "max_new_tokens": 64, "temperature": 0}
_WAIT_SECONDS = 60
_MODELS: tuple[dict[str, Any], ...] = (
    {
        "owner": "demo",
        "name": "echo",
        "description": "Says what it is told: for trying out the API without weights.",
        "model_type": "echo",
        "model_path": "echo",
    },
    {
        "owner": "demo",
        "name": "recital",
        "description": "A tiny language model that knows one text by heart.",
        "model_type": "text-generation",
        "model_path": str(RECITAL),
    },
)


class DemoFailed(Fault):
    """The demonstration's prediction did not succeed."""


def register(client: Client) -> None:
    """Add the demo models that the server does not have. Raises RequestRefused."""
    for model in _MODELS:
        if not client.has_model(f"{model['owner']}/{model['name']}"):
            client.add_model(model)


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
