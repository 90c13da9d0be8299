"""Speech to text: what is said in a recording, in its own language or in English, and when."""

from __future__ import annotations

from model_types.base import TypeInfo
from model_types.speech_to_text.schema import Input, Transcript

INFO = TypeInfo(
    name="speech-to-text",
    description="Writes down what is said in a recording, or translates it into English, with Whisper.",
    Input=Input,
    Output=Transcript,
    engines={"transformers": "model_types.speech_to_text.transformers:Transformers"},
    default_engine="transformers",
    takes=("audio",),
    gives=("text",),
    execution_timeout_seconds=3600,
    chunks="text",
    text_field="text",
)
