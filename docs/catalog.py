"""Writes docs/reference/models.schema.json, by which editors know what a catalog's file may hold.

Run as `python -m docs.catalog` after an entry's fields have changed; a test compares what lies there.
"""

from __future__ import annotations

import json
from pathlib import Path

from cli.catalog import Document

SCHEMA = Path(__file__).parent / "reference/models.schema.json"


def schema() -> str:
    """The JSON Schema (draft 2020-12) of a catalog's file."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Document.model_json_schema()}
    return json.dumps(described, indent=2) + "\n"


def main() -> None:
    SCHEMA.write_text(schema())


if __name__ == "__main__":
    main()
