"""Fields that all who write texts have in their inputs."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field

MAX_TOP_LOGPROBS = 20
MAX_JSON_SCHEMA_BYTES = 64 * 1024

StopString = Annotated[str, Field(min_length=1, max_length=256)]
TopLogprobs = Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)]


def _is_schema(schema: dict[str, Any]) -> dict[str, Any]:
    import jsonschema_rs  # only for those who give one

    if len(json.dumps(schema)) > MAX_JSON_SCHEMA_BYTES:
        raise ValueError(f"is longer than {MAX_JSON_SCHEMA_BYTES} bytes")
    try:
        jsonschema_rs.Draft202012Validator(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())
    except jsonschema_rs.ValidationError as error:
        path = "/".join(map(str, error.instance_path))
        raise ValueError(f"is no JSON Schema{path and f' at {path}'}: {error.message}") from None
    return schema


JsonSchema = Annotated[dict[str, Any], AfterValidator(_is_schema)]
"""A JSON Schema (draft 2020-12). What it refers to is in it: nothing is fetched."""

LOGPROBS = (
    "Tell how likely each token was, and this many of the likeliest in its place. The output is then a list "
    "of pieces, each with its text and its tokens."
)
JSON_SCHEMA = (
    "Write JSON that fits this JSON Schema, and nothing else. Ask for it in the prompt too: the schema only "
    "rules out what does not fit. Where the text reaches its limit of tokens, the JSON breaks off."
)
