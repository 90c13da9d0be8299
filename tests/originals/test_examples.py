"""The examples in the documents of five other servers, run as they stand there against one of ours.

Small models bear the names that the documents use; images, recordings and webhooks are on this machine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from examples.demo_models import RECITAL, SHAPES, minilm
from tests.model_types import seeing_models, whisper
from tests.model_types.pictures import data_uri
from tests.originals.commands import Example, curl, examples, has_shape
from tests.stack import Stack, wait_until
from tests.workers.receivers import Receiver, receiver, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WHITE_RABBIT = HERE.parent / "model_types" / "white_rabbit.ogg"
PICTURE = Image.new("RGB", (64, 64), "red")


def build_models(folder: Path) -> dict[str, tuple[str, Path]]:
    """The models' types and folders, by the names in the documents."""
    talker, viewer, blip, hearer = (folder / name for name in ("talker", "viewer", "blip", "hearer"))
    shutil.copytree(RECITAL, talker)
    (talker / "chat_template.jinja").write_text("{% for turn in messages %}{{ turn.content }}{% endfor %}")
    seeing_models.build_qwen3_vl(viewer)
    seeing_models.build_blip_vqa(blip)
    whisper.build(hearer)
    weights = minilm.folder()
    assert weights is not None
    return {
        "BAAI/bge-m3": ("embeddings", weights),
        "meta-llama/Llama-3.2-1B-Instruct": ("text-generation", talker),
        "Qwen/Qwen3-VL-4B-Instruct": ("image-to-text", viewer),
        "Qwen/Qwen3-VL-4B-Instruct-FP8": ("image-to-text", viewer),
        "vikhyatk/moondream2": ("image-to-text", viewer),
        "openai/whisper-tiny": ("speech-to-text", hearer),
        "ultralytics/yolov8n": ("object-detection", SHAPES),
        "Salesforce/blip-vqa-base": ("image-to-text", blip),
        "local/vicuna_q2": ("text-generation", RECITAL),
    }


@pytest.fixture
def stack(make_stack: Callable[..., Stack], tmp_path: Path) -> Stack:
    """All of Augury, for everybody, with the documents' models."""
    stack = make_stack(
        environment={
            "ALLOW_ANONYMOUS": "1",
            "ALLOW_REMOTE_INPUTS": "1",
            "INPUT_ALLOW_CIDRS": "127.0.0.0/8",
            "MODEL_CREATION": "users",
            "MODEL_ID": "vikhyatk/moondream2",
        }
    )
    models = build_models(tmp_path)
    stack.start(pools=sorted({model_type for model_type, _ in models.values()}))
    with stack.client() as client:
        for reference, (model_type, folder) in models.items():
            owner, _, name = reference.partition("/")
            version = {"model_type": model_type, "model_path": str(folder)}
            client.add_model({"owner": owner, "name": name, **version})
    return stack


@pytest.fixture
def elsewhere() -> Iterator[Receiver]:
    """Another machine, which has an image, and takes webhooks."""
    file = BytesIO()
    PICTURE.save(file, "JPEG")
    with receiver(serve(file.getvalue(), Content_Type="image/jpeg")) as running:
        yield running


def test_every_example_of_the_five_documents_works(stack: Stack, elsewhere: Receiver) -> None:
    replaced = {
        "http://localhost:8000": stack.url,
        "http://localhost:5000": stack.url,
        "https://example.com/cat.jpg": f"{elsewhere.url}/cat.jpg",
        "https://example.com/sample.jpg": f"{elsewhere.url}/sample.jpg",
        "https://ultralytics.com/images/bus.jpg": f"{elsewhere.url}/bus.jpg",
        "https://your-server.com/webhook": f"{elsewhere.url}/webhook",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA...truncated...": data_uri(PICTURE),
        "/path/to/sample.wav": str(WHITE_RABBIT),
        '"model_path": "gpt2"': f'"model_path": "{RECITAL}"',
    }

    def of(name: str) -> list[Example]:
        return examples(HERE / f"{name}.sh", replaced)

    with httpx.Client(timeout=60) as http:
        for example in of("image_and_text_batches"):
            run(http, example)
        transcripts = [run(http, example) for example in of("simple_inference_server")]
        assert sum(isinstance(answer, str) for answer in transcripts) == 1
        listed, detected, ready, seen = [run(http, example) for example in of("model_inference_engine")]
        assert "ultralytics/yolov8n" in [model["id"] for model in listed["data"]]
        assert (detected["model_id"], type(detected["output"]["detections"])) == ("yolov8n", list)
        assert ready["status"] == "ready"
        assert isinstance(seen["output"], str)
        walk_through_the_inference_server(http, of("inference_server"), elsewhere)
    walk_through_the_prototype(of("inference_prototype"), stack.token())


def run(http: httpx.Client, example: Example) -> Any:
    """The answer to a command, which must succeed, and look as its document shows it."""
    response = curl(http, example.words)
    assert response.is_success, (example.words, response.text)
    is_json = response.headers["Content-Type"].startswith("application/json")
    answer = response.json() if is_json else response.text
    assert has_shape(answer, example.shown), (example.words, answer)
    return answer


def walk_through_the_inference_server(http: httpx.Client, found: list[Example], elsewhere: Receiver) -> None:
    """Each command has words of earlier answers in it."""
    known: dict[str, str] = {}

    def next_answer() -> Any:
        example = found.pop(0)
        words = list(example.words)
        for old, new in known.items():
            words = [word.replace(old, new) for word in words]
        return run(http, Example(words, example.shown))

    assert next_answer()["username"] == "testuser"
    known["YOUR_TOKEN"] = next_answer()["access_token"]
    model = next_answer()
    known["MODEL_ID"] = known["{model_id}"] = model["id"]
    assert model["id"] in [one["id"] for one in next_answer()["results"]]
    assert next_answer()["name"] == "GPT-2"
    prediction = next_answer()
    known["{prediction_id}"] = prediction["id"]
    assert next_answer()["id"] == prediction["id"]
    assert [one["id"] for one in next_answer()["results"]] == [prediction["id"]]
    hooked = next_answer()
    assert next_answer() == {"status": "ok"}
    assert not found

    def told() -> list[Any]:
        hooks = [json.loads(one.body) for one in elsewhere.requests if one.path == "/webhook"]
        return [hook["status"] for hook in hooks if hook["id"] == hooked["id"]]

    wait_until(lambda: "succeeded" in told(), 30, "the webhook")


def walk_through_the_prototype(found: list[Example], token: str) -> None:
    """A task is sent, and then looked at; only the list needs a token."""
    send, generate, health, tasks, status = [example.words for example in found]
    sent = simple_tester(send)
    assert sent["status"] == "PENDING"
    generated = simple_tester(generate)
    assert (generated["status"], type(generated["result"])) == ("SUCCESS", str)
    assert simple_tester(health) == {"status": "ok"}
    assert sent["task_id"] in [task["task_id"] for task in simple_tester(tasks, token)["tasks"]]
    looked = [word.replace("<TASK_ID>", sent["task_id"]) for word in status]
    wait_until(lambda: simple_tester(looked)["status"] == "SUCCESS", 30, "the task")


def simple_tester(words: Sequence[str], token: str = "") -> Any:
    """What the command prints; it must succeed."""
    assert words[0] == "python"
    command = [sys.executable, *words[1:]]
    environment = {"AUGURY_TOKEN": token, "PATH": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
