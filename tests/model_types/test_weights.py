"""Where weights come from, and what is said when they may not come from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_types import weights
from model_types.base import ModelUnavailable, VersionSpec


def version(cache: Path, *, revision: str | None = None, may_download: bool = False) -> VersionSpec:
    return VersionSpec(
        id="1",
        model="acme/chat",
        model_type="text-generation",
        engine="transformers",
        path="acme/smol",
        revision=revision,
        options={"cache_dir": str(cache)},
        may_download=may_download,
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A hub's cache in which acme/smol lies at one commit, its main branch."""
    repository = tmp_path / "models--acme--smol"
    for file, content in {"refs/main": "abc", "snapshots/abc/config.json": "{}"}.items():
        (repository / file).parent.mkdir(parents=True)
        (repository / file).write_text(content)
    return tmp_path


def test_what_was_pulled_is_used_without_the_hub(cache: Path) -> None:
    for revision in (None, "abc"):
        where = weights.source(version(cache, revision=revision))
        assert where["local_files_only"] is True
        assert (where["cache_dir"], where["revision"]) == (str(cache), revision or "main")


def test_what_was_not_pulled_and_may_not_be_downloaded_says_how_to_get_it(cache: Path) -> None:
    with pytest.raises(ModelUnavailable) as refusal:
        weights.source(version(cache, revision="v2"))
    assert str(refusal.value) == (
        "acme/smol at v2 has not been downloaded, and lanes may not do so (AUTO_DOWNLOAD_MODELS): "
        "run `augury models pull acme/chat`"
    )
    assert weights.source(version(cache, revision="v2", may_download=True))["local_files_only"] is False
