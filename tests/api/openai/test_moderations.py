"""Moderations, by classifiers that say which of their labels are bad and from when on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.api.asking import add_model
from tests.api.openai.conftest import MODEL, Scene, Stage

pytestmark = pytest.mark.anyio

MODERATOR = "root/moderator"
THRESHOLDS = {"toxic": 0.5, "threat/violence": 0.2}


@pytest.fixture
async def watch(stage: Stage) -> AsyncIterator[Scene]:
    """`root/model` is any classifier, and `root/moderator` one that is meant for moderation."""
    async with stage("classification") as scene:
        options = {"moderation": THRESHOLDS}
        await add_model(
            scene.served, scene.root, name="moderator", model_type="classification", options=options
        )
        yield scene


def ask(scene: Scene, given: Any, *, model: str = MODERATOR) -> asyncio.Task[Any]:
    """A request that waits for its answer while the test goes on."""
    return asyncio.create_task(scene.client.moderations.create(model=model, input=given))


def scores(toxic: float, threat: float) -> list[dict[str, Any]]:
    return [
        {"label": "neutral", "score": 1 - toxic},
        {"label": "toxic", "score": toxic},
        {"label": "threat/violence", "score": threat},
    ]


@pytest.mark.slow
async def test_a_text_is_flagged_where_a_score_reaches_its_threshold(watch: Scene) -> None:
    asking = ask(watch, "Off with her head!")
    (lease,) = await watch.asked()
    assert lease.input == {"text": "Off with her head!", "top_k": 1000}
    await watch.answer(lease, scores(0.4, 0.2))
    answer = await asking
    assert (answer.id, answer.model) == (f"modr-{lease.id}", MODERATOR)
    (result,) = answer.results
    assert result.to_dict() == {
        "flagged": True,
        "categories": {"toxic": False, "threat/violence": True},
        "category_scores": {"toxic": 0.4, "threat/violence": 0.2},
        "category_applied_input_types": {"toxic": ["text"], "threat/violence": ["text"]},
    }


@pytest.mark.slow
async def test_each_text_of_a_list_is_a_prediction_and_has_its_own_result(watch: Scene) -> None:
    asking = ask(watch, ["Curtsey.", "Idiot!"])
    leases = await watch.asked(2)
    for lease in reversed(leases):
        await watch.answer(lease, scores(0.9 if lease.input["text"] == "Idiot!" else 0.1, 0.0))
    assert [result.flagged for result in (await asking).results] == [False, True]


@pytest.mark.slow
async def test_a_classifier_without_thresholds_is_no_moderation_model(watch: Scene) -> None:
    with pytest.raises(openai.BadRequestError, match="is no moderation model") as refused:
        await ask(watch, "Curtsey.", model=MODEL)
    assert refused.value.param == "model"


@pytest.mark.slow
async def test_there_must_be_texts_and_not_too_many(watch: Scene) -> None:
    cases: list[str | list[str]] = ["", [], [""], ["x"] * 129]
    for given in cases:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(watch, given)
        assert refused.value.param == "input"


@pytest.mark.slow
async def test_a_category_that_the_model_does_not_have_is_the_models_failure(watch: Scene) -> None:
    asking = ask(watch, "Curtsey.")
    (lease,) = await watch.asked()
    await watch.answer(lease, [{"label": "toxic", "score": 0.1}])
    with pytest.raises(openai.InternalServerError, match="has no label 'threat/violence'"):
        await asking


@pytest.mark.slow
async def test_thresholds_are_shares(watch: Scene) -> None:
    refused = await watch.http.post(
        "/v1/models",
        json={
            "name": "strict",
            "model_type": "classification",
            "model_path": "-",
            "version": "1",
            "options": {"moderation": {"toxic": 2}},
        },
        headers=watch.root,
    )
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "options.moderation.toxic"
