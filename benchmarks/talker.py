"""A model that holds conversations: demo/recital with a chat template."""

from __future__ import annotations

import shutil
from pathlib import Path

from examples.demo_models import RECITAL

TEMPLATE = "{% for turn in messages %}{{ turn.content }}{% endfor %}"


def build(folder: Path) -> Path:
    """Write the model into a new folder, which is returned. It goes on with what it is told, as it stands."""
    shutil.copytree(RECITAL, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    return folder
