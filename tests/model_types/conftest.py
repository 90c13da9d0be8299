"""What tests of model types share. Heavy libraries are imported where they are used, so not in fast tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from model_types.text_generation.transformers import Transformers


@pytest.fixture(scope="session", autouse=True)
def code_of_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where transformers copies the code that comes with weights: not into the home of whoever tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("modules"))
        # For tests that have imported transformers, and for those that are still to do so.
        patch.setenv("HF_MODULES_CACHE", folder)
        if "transformers" in sys.modules:
            patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", folder)
        yield


@pytest.fixture(scope="session")
def recital() -> Iterator[Transformers]:
    """The shipped demo model, which knows a text by heart."""
    from model_types import registry
    from model_types.text_generation.transformers import Transformers
    from tests.model_types.cases import TEXT_GENERATION

    loaded = registry.engine(TEXT_GENERATION.spec)
    assert isinstance(loaded, Transformers)
    loaded.load(TEXT_GENERATION.spec, "cpu")
    yield loaded
    loaded.unload()
