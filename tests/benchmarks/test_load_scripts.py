"""The load scripts at a running platform: what they print and draw."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from benchmarks import audio, chat, embeddings
from examples.demo_models import RECITAL, minilm
from tests.model_types import whisper
from tests.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture
def platform(stack: Stack, tmp_path: Path) -> Stack:
    """A running stack with models that talk, embed and hear."""
    talker = tmp_path / "talker"
    shutil.copytree(RECITAL, talker)
    (talker / "chat_template.jinja").write_text("{% for turn in messages %}{{ turn.content }}{% endfor %}")
    whisper.build(tmp_path / "whisper")
    folders = {
        "talker": ("text-generation", talker),
        "minilm": ("embeddings", minilm.folder()),
        "whisper": ("speech-to-text", tmp_path / "whisper"),
    }
    stack.start(pools=[model_type for model_type, _ in folders.values()])
    with stack.client() as operator:
        for name, (model_type, folder) in folders.items():
            operator.add_model(
                {"owner": "test", "name": name, "model_type": model_type, "model_path": str(folder)}
            )
    return stack


def run(script: click.Command, *arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(script, arguments, env={"COLUMNS": "120", **environment})


def figures(result: Result) -> dict[str, list[str]]:
    """What a script has printed, by the names of the rows: a text for each model."""
    assert result.exit_code == 0, result.output
    cells = ([cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in result.stdout.splitlines())
    return {name: values for name, *values in filter(None, cells)}


def test_each_script_measures_a_platform_and_the_environment_may_say_how(
    platform: Stack, tmp_path: Path
) -> None:
    server = {"BASE_URL": f"{platform.url}/v1", "AUGURY_TOKEN": platform.token()}
    chart = tmp_path / "chart.png"

    streamed = figures(
        run(
            chat.main, "--model-name", "test/talker", "--stream", "--n-requests=4", "--max-tokens=3", **server
        )
    )
    whole = figures(
        run(chat.main, MODEL_NAME="test/talker", PROMPT="Alice", N_REQUESTS="2", MAX_TOKENS="3", **server)
    )
    embedded = figures(
        run(
            embeddings.main,
            *("--models", "test/minilm,test/minilm", "--n-requests", "5", "--texts-per-request", "2"),
            *("--concurrency", "2", "--plot", str(chart)),
            **server,
        )
    )
    heard = figures(run(audio.main, "--", "--models=test/whisper", "--n-requests=2", **server))

    assert streamed["requests served"] == ["4"]
    assert 0 < float(streamed["first piece, p50, ms"][0]) < float(streamed["latency, p100, ms"][0])
    assert whole["requests served"] == ["2"]
    assert float(whole["tokens/s"][0]) == pytest.approx(3 * float(whole["requests/s"][0]), abs=0.05)
    assert embedded["requests served"] == ["5", "5"]
    for requests, texts in zip(embedded["requests/s"], embedded["texts/s"], strict=True):
        assert float(texts) == pytest.approx(2 * float(requests), abs=0.05)
    assert heard["requests served"] == ["2"]
    with Image.open(chart) as image:
        assert image.format == "PNG"
