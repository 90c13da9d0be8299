"""Echo: gives back its text, after as long and in as many steps as it is told; for tests and benchmarks."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from model_types.base import OutputFile, TypeInfo


class Input(BaseModel):
    """What to say, and how to misbehave meanwhile."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(
        title="Text",
        description="What to give back.",
        json_schema_extra={"x-order": 0},
    )
    sleep: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        title="Sleep",
        description="Seconds to sleep in all, shared out over the steps. Echoes of one batch sleep together.",
        json_schema_extra={"x-order": 1},
    )
    steps: int = Field(
        default=1,
        ge=1,
        le=1000,
        title="Steps",
        description="In how many steps to do it: the text comes in as many chunks, and a cancellation is "
        "seen between two of them.",
        json_schema_extra={"x-order": 2},
    )
    fail: str | None = Field(
        default=None,
        title="Fail",
        description="Fail with this message instead of answering.",
        json_schema_extra={"x-order": 3},
    )
    crash: bool = Field(
        default=False,
        title="Crash",
        description="Kill the process that runs it (SIGKILL), as a fault in native code would.",
        json_schema_extra={"x-order": 4},
    )
    file: bool = Field(
        default=False,
        title="File",
        description="Give the text back as a file, echo.txt.",
        json_schema_extra={"x-order": 5},
    )
    log: str | None = Field(
        default=None,
        title="Log",
        description="Print this line at each step.",
        json_schema_extra={"x-order": 6},
    )


INFO = TypeInfo(
    name="echo",
    description="Gives back its text. For tests, benchmarks and first steps.",
    Input=Input,
    Output=str | OutputFile,
    engines={"builtin": "model_types.echo.builtin:Echo"},
    default_engine="builtin",
    takes=("text",),
    gives=("text",),
    max_batch=64,
    chunks="text",
)
