"""Predictions by replicate 1.0, from their creation to their end."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import replicate
from replicate.exceptions import ModelError

RECITAL = {"prompt": "Alice was", "max_new_tokens": 32, "temperature": 0}
FOREVER = {"text": "", "sleep": 60, "steps": 600}


def version_of(model: str) -> str:
    return replicate.models.get(model).latest_version.id


def test_run_gives_the_chunks_of_a_text_to_be_joined() -> None:
    chunks = replicate.run("demo/recital", input=RECITAL)
    assert isinstance(chunks, list)
    assert "beginning to" in "".join(chunks)


def test_run_by_version_is_an_iterator_where_the_schema_says_so() -> None:
    chunks = replicate.run(f"demo/recital:{version_of('demo/recital')}", input=RECITAL)
    assert not isinstance(chunks, str | list)
    assert "beginning to" in "".join(chunks)


def test_run_without_holding_the_request_polls_to_the_same_end() -> None:
    assert "".join(replicate.run("demo/echo", input={"text": "polled"}, wait=False)) == "polled"


def test_run_by_version_without_holding_iterates_over_what_comes() -> None:
    text = {"text": "as it comes", "sleep": 0.5, "steps": 5}
    chunks = replicate.run(f"demo/echo:{version_of('demo/echo')}", input=text, wait=False)
    assert "".join(chunks) == "as it comes"


def test_run_goes_on_after_the_time_to_wait_has_run_out() -> None:
    """The client takes any status but `starting` for the end, and its missing output for None."""
    late = {"text": "late", "sleep": 1.3, "steps": 13}
    assert "".join(replicate.run("demo/echo", input=late, wait=1)) == "late"


def test_async_run_gives_the_same() -> None:
    assert "".join(asyncio.run(replicate.async_run("demo/echo", input={"text": "hello"}))) == "hello"


def test_run_raises_the_models_own_error() -> None:
    with pytest.raises(ModelError, match="too dark to see") as raised:
        replicate.run("demo/echo", input={"text": "", "fail": "too dark to see"})
    assert raised.value.prediction.status == "failed"


@pytest.mark.parametrize("reference", ["demo/echo", "demo/echo:{version}", "{version}"])
def test_a_version_is_named_in_each_of_the_three_ways(reference: str) -> None:
    version = version_of("demo/echo")
    prediction = replicate.predictions.create(
        version=reference.format(version=version), input={"text": "named"}, wait=10
    )
    assert (prediction.status, prediction.output) == ("succeeded", ["named"])
    assert (prediction.model, prediction.version) == ("demo/echo", version)


def test_a_prediction_is_created_waited_for_and_reloaded() -> None:
    prediction = replicate.predictions.create(version_of("demo/echo"), {"text": "step by step"})
    assert prediction.status == "starting"
    prediction.wait()
    assert (prediction.status, "".join(prediction.output)) == ("succeeded", "step by step")
    before = prediction.dict(exclude={"urls"})
    prediction.reload()
    assert prediction.dict(exclude={"urls"}) == before


def test_creating_by_model_does_not_wait_though_asked_to() -> None:
    """The client drops `wait` there; a server that waited all the same would surprise its users."""
    prediction = replicate.predictions.create(model="demo/echo", input={"text": "", "sleep": 0.3}, wait=10)
    assert prediction.status == "starting"
    prediction.cancel()


def test_what_a_finished_prediction_tells() -> None:
    prediction = replicate.predictions.create(version_of("demo/echo"), {"text": "all of it"}, wait=10)
    home = f"{os.environ['REPLICATE_BASE_URL']}/v1/predictions/{prediction.id}"
    assert prediction.urls["get"] == home
    assert prediction.urls["cancel"] == f"{home}/cancel"
    assert {"stream", "web"} <= prediction.urls.keys()
    assert prediction.input == {"text": "all of it"}
    assert prediction.error is None
    assert prediction.logs == ""
    assert prediction.created_at < prediction.started_at < prediction.completed_at
    assert 0 <= prediction.metrics["predict_time"] <= prediction.metrics["total_time"]


def test_cancelling_is_told_in_the_answer_and_may_be_repeated() -> None:
    prediction = replicate.predictions.create(version_of("demo/echo"), FOREVER)
    prediction.cancel()
    assert prediction.status == "canceled"
    assert replicate.predictions.cancel(prediction.id).status == "canceled"


def test_a_prediction_that_waits_has_no_status_that_the_client_does_not_know() -> None:
    waiting = [replicate.predictions.create(version_of("demo/echo"), FOREVER) for _ in range(3)]
    statuses = {replicate.predictions.get(prediction.id).status for prediction in waiting}
    for prediction in waiting:
        prediction.cancel()
    assert statuses <= {"starting", "processing"}


def test_pages_of_predictions_lead_through_all_of_them() -> None:
    created = [replicate.predictions.create(version_of("demo/echo"), {"text": str(n)}).id for n in range(3)]
    listed: list[Any] = []
    page = replicate.predictions.list("/v1/predictions?limit=2")
    while not set(created) <= set(listed):
        listed += [prediction.id for prediction in page]
        page = replicate.predictions.list(page.next)
    assert listed[:3] == created[::-1]
    assert len(set(listed)) == len(listed)


def test_a_base_url_that_already_ends_in_v1_works_as_well() -> None:
    """The two Python clients read one variable, and mean different things by it."""
    client = replicate.Client(base_url=os.environ["REPLICATE_BASE_URL"] + "/v1")
    assert "".join(client.run("demo/echo", input={"text": "v1 twice"})) == "v1 twice"


def test_progress_is_read_from_what_the_model_prints() -> None:
    progress_bar = "50%|#####     | 2/4 [00:01<00:01, 2.00it/s]"
    prediction = replicate.predictions.create(
        version_of("demo/echo"), {"text": "", "log": progress_bar}, wait=10
    )
    assert (prediction.progress.current, prediction.progress.total) == (2, 4)
