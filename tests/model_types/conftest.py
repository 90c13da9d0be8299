"""Engines, loaded once for all tests of model types."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model_types import registry
from model_types.base import ModelType
from model_types.text_generation.transformers import Transformers
from tests.model_types.cases import CASES, TEXT_GENERATION, Case


@pytest.fixture(scope="session", autouse=True)
def code_of_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where transformers copies the code that comes with weights: not into the home of whoever tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("modules"))
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", folder)
        yield


@pytest.fixture(scope="session", params=CASES, ids=str)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Each engine's case in turn."""
    chosen: Case = request.param
    return chosen.built(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def engine(case: Case) -> Iterator[ModelType]:
    """The case's engine, loaded and warm."""
    loaded = registry.engine(case.spec)
    loaded.load(case.spec, "cpu")
    loaded.warm_up()
    yield loaded
    loaded.unload()


@pytest.fixture(scope="session")
def recital() -> Iterator[Transformers]:
    """The shipped demo model, which knows a text by heart."""
    loaded = registry.engine(TEXT_GENERATION.spec)
    assert isinstance(loaded, Transformers)
    loaded.load(TEXT_GENERATION.spec, "cpu")
    yield loaded
    loaded.unload()
