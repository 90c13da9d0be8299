"""Trust: whose pickles and code may run, and who only looks as if."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_types.errors import ModelUnavailable
from model_types.trust import Trust, digest_of
from workers.settings import WorkerSettings

WHAT = "code of its own"


def folder(place: Path, code: str = "print('hello')") -> Path:
    """A folder with a file of code in it."""
    place.mkdir(parents=True)
    (place / "modeling.py").write_text(code)
    return place


def trusts(allowed: str, path: object, revision: str | None = None) -> bool:
    try:
        Trust((allowed,)).require(str(path), WHAT, revision=revision)
    except ModelUnavailable:
        return False
    return True


def test_nothing_is_trusted_unless_somebody_says_so(tmp_path: Path) -> None:
    place = folder(tmp_path / "model")
    with pytest.raises(ModelUnavailable, match="TRUSTED_MODELS") as refused:
        Trust().require(str(place), WHAT)
    sentence = str(refused.value)
    assert WHAT in sentence
    assert str(place) in sentence
    assert digest_of(place) in sentence


def test_a_prefix_ends_where_a_name_does(tmp_path: Path) -> None:
    place = folder(tmp_path / "acme" / "detector")
    assert trusts(str(place), place)
    assert trusts(f"{place}/", place)
    assert trusts(str(tmp_path / "acme"), place)
    assert not trusts(str(tmp_path / "acme" / "det"), place)
    assert not trusts(str(tmp_path / "acme" / "detector" / "modeling.py"), place)
    assert trusts("/", place)


def test_what_only_passes_through_a_trusted_folder_is_not_in_it(tmp_path: Path) -> None:
    folder(tmp_path / "trusted" / "model")
    other = folder(tmp_path / "other")
    assert not trusts(str(tmp_path / "trusted"), tmp_path / "trusted" / ".." / "other")
    link = tmp_path / "trusted" / "link"
    link.symlink_to(other)
    assert not trusts(str(tmp_path / "trusted"), link)
    assert trusts(str(other), link)


def test_a_trusted_link_means_what_it_leads_to(tmp_path: Path) -> None:
    place = folder(tmp_path / "disk" / "model")
    (tmp_path / "models").symlink_to(tmp_path / "disk")
    assert trusts(str(tmp_path / "models"), place)
    assert trusts(str(tmp_path / "models"), tmp_path / "models" / "model")


def test_a_repository_is_trusted_by_its_name_and_a_revision() -> None:
    assert trusts("acme/detector", "acme/detector", "2024-04-02")
    assert trusts("acme/", "acme/detector", "2024-04-02")
    assert not trusts("acme/det", "acme/detector", "2024-04-02")
    assert not trusts("acme/", "acme/../evil/detector", "2024-04-02")
    assert not trusts("/acme", "acme/detector", "2024-04-02")
    with pytest.raises(ModelUnavailable, match=r"acme/detector is trusted only with a revision"):
        Trust(("acme/",)).require("acme/detector", WHAT)


def test_a_folder_that_is_called_like_a_repository_is_no_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "acme" / "detector")
    monkeypatch.chdir(tmp_path)
    assert not trusts("acme/", "acme/detector", "2024-04-02")
    assert trusts(str(tmp_path), "acme/detector")


def test_a_prefix_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    place = folder(tmp_path / "models" / "detector")
    assert trusts("~/models", place)
    assert trusts("~/models", "~/models/detector")


def test_a_digest_is_of_what_is_in_a_folder(tmp_path: Path) -> None:
    place = folder(tmp_path / "model")
    digest = digest_of(place)
    assert trusts(digest, place)
    assert trusts(digest, place.rename(tmp_path / "elsewhere"))
    moved = tmp_path / "elsewhere"
    (moved / "modeling.py").write_text("print('hallo')")
    assert not trusts(digest, moved)
    (moved / "modeling.py").write_text("print('hello')")
    assert trusts(digest, moved)
    (moved / "modeling.py").rename(moved / "modelling.py")
    assert not trusts(digest, moved)


def test_a_digest_may_be_of_one_file(tmp_path: Path) -> None:
    weights = tmp_path / "yolo.pt"
    weights.write_bytes(b"pickle")
    digest = digest_of(weights)
    assert trusts(digest, weights)
    weights.write_bytes(b"pickles")
    assert not trusts(digest, weights)


def test_a_digest_sees_through_links_to_files_and_refuses_those_to_folders(tmp_path: Path) -> None:
    place = folder(tmp_path / "model")
    blob = tmp_path / "blob"
    blob.write_text("weights")
    (place / "weights").symlink_to(blob)
    digest = digest_of(place)
    blob.write_text("others")
    assert not trusts(digest, place)
    (place / "more").symlink_to(folder(tmp_path / "more"))
    with pytest.raises(ModelUnavailable, match=r"more is a link to a folder"):
        Trust((digest,)).require(str(place), WHAT)


def test_a_list_with_nothing_in_it_trusts_nothing(tmp_path: Path) -> None:
    settings = WorkerSettings(trusted_models=" , ,", _env_file=None)
    assert settings.trusted_models == ()
    assert not trusts("", folder(tmp_path / "model"))


def test_the_list_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_MODELS", "/models, vikhyatk/moondream2 ,sha256:00")
    settings = WorkerSettings(_env_file=None)
    assert settings.trusted_models == ("/models", "vikhyatk/moondream2", "sha256:00")
