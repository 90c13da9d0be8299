"""The document on model types has each of them, with examples that they take and give."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from pydantic import TypeAdapter

from model_types import registry
from model_types.base import TypeInfo
from tests.deploy.compose import ROOT

DOCUMENT = (ROOT / "docs" / "model-types.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))
WITH_A_SCHEMA = [info for info in registry.BUILT_IN if info.name != "custom"]


@pytest.mark.parametrize("info", WITH_A_SCHEMA, ids=lambda info: info.name)
def test_the_examples_are_inputs_and_outputs_of_the_type(info: TypeInfo) -> None:
    texts = re.findall(r"```json\n(.*?)```", SECTIONS[info.name], re.DOTALL)
    assert texts
    output_type: TypeAdapter[Any] = TypeAdapter(info.Output)
    for given, made in zip(texts[::2], texts[1::2], strict=True):
        info.Input.model_validate(json.loads(given))
        jsonschema_rs.Draft202012Validator(output_type.json_schema()).validate(json.loads(made))


@pytest.mark.parametrize("info", registry.BUILT_IN, ids=lambda info: info.name)
def test_the_table_has_every_engine_of_the_type(info: TypeInfo) -> None:
    assert info.name in SECTIONS
    rows = DOCUMENT.partition(f"| [`{info.name}`](#{info.name}) |")[2].partition("| [`")[0]
    assert re.findall(r"^(?: \| | )?`([\w-]+)` \|", rows.replace("\n| |", "\n"), re.MULTILINE) == list(
        info.engines
    )
