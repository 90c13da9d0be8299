"""Load on /v1/audio: how soon a recording is written down, and how much of sound in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import httpx
import soundfile

from benchmarks.trials import Reply, Script, Trial, conduct, option, options, post

RECORDING = Path(__file__).parents[1] / "tests" / "model_types" / "white_rabbit.ogg"


@click.command(cls=Script, help=__doc__)
@options
@option(
    "--file",
    envvar="AUDIO_FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=RECORDING,
    show_default="four seconds of speech",
    help="The recording.",
)
@option(
    "--task", envvar="TASK", type=click.Choice(["transcriptions", "translations"]), default="transcriptions"
)
@option(
    "--language", envvar="AUDIO_LANGUAGE", help="The recording's language, such as en; else it is found out."
)
def main(file: Path, task: str, language: str | None, **trial: Any) -> None:
    recording = file.read_bytes()
    seconds = soundfile.info(file).duration
    fields = {"language": language} if language else {}

    async def ask(http: httpx.AsyncClient, model: str) -> Reply:
        files = {"file": (file.name, recording)}
        await post(http, f"/v1/audio/{task}", data={"model": model, **fields}, files=files)
        return Reply(seconds)

    conduct(Trial(**trial), ask, unit="seconds of sound")


if __name__ == "__main__":
    main()
