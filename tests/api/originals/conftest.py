"""A gateway that listens, and a lane that answers by hand, as OpenAI's routes are tested."""

from __future__ import annotations

from tests.api.openai.conftest import stage

__all__ = ["stage"]
