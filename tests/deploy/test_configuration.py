"""The settings' reference says what the settings are."""

from __future__ import annotations

import re

import pytest

from docs.configuration import COMPOSE, EXAMPLE, GROUPS, TABLE, example, settings_of, table
from tests.deploy.compose import ROOT


def test_the_reference_and_the_example_are_up_to_date() -> None:
    assert TABLE.read_text() == table(), "run: python -m docs.configuration"
    assert EXAMPLE.read_text() == example(), "run: python -m docs.configuration"


@pytest.mark.parametrize(("title", "settings"), [(title, settings) for title, _, settings in GROUPS])
def test_every_setting_is_described(title: str, settings: type) -> None:
    undescribed = [name for name, field in settings_of(settings).items() if not field.description]
    assert not undescribed, f"{title}: {undescribed}"


def test_what_the_compose_files_ask_for_is_in_the_example() -> None:
    asked: set[str] = set()
    for name in ("docker-compose.yml", "docker-compose.gpu.yml"):
        asked |= set(re.findall(r"\$\{(\w+)", (ROOT / name).read_text()))
    known = {name for name, _, _ in COMPOSE} | {name for _, _, s in GROUPS for name in settings_of(s)}
    assert asked <= known
