"""Predictions by replicate 2.0, and what it makes of what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import os
from itertools import islice
from typing import Any

import httpx
import pytest
import replicate
from replicate import AsyncReplicate, Replicate
from replicate.exceptions import ModelError

RECITAL = {"prompt": "Alice was", "max_new_tokens": 32, "temperature": 0}
FOREVER = {"text": "", "sleep": 60, "steps": 600}


@pytest.fixture(scope="module")
def client() -> Replicate:
    return Replicate()


def echoed(client: Replicate, input: dict[str, Any], **options: Any) -> Any:
    return client.predictions.create(version="demo/echo", input=input, **options)


def test_run_gives_the_chunks_of_a_text_to_be_joined() -> None:
    assert "beginning to" in "".join(replicate.run("demo/recital", input=RECITAL))


def test_run_goes_on_after_the_time_to_wait_has_run_out() -> None:
    late = {"text": "late", "sleep": 1.3, "steps": 13}
    assert "".join(replicate.run("demo/echo", input=late, wait=1)) == "late"


def test_async_run_gives_the_same() -> None:
    async def said() -> str:
        return "".join(await AsyncReplicate().run("demo/echo", input={"text": "hello"}))

    assert asyncio.run(said()) == "hello"


def test_run_raises_the_models_own_error() -> None:
    with pytest.raises(ModelError, match="too dark to see"):
        replicate.run("demo/echo", input={"text": "", "fail": "too dark to see"})


def test_a_created_prediction_is_waited_for_by_the_server(client: Replicate) -> None:
    prediction = echoed(client, {"text": "waited"}, prefer="wait=10")
    assert (prediction.status, prediction.output) == ("succeeded", ["waited"])
    assert prediction.metrics.total_time >= 0
    assert prediction.urls.get == f"{os.environ['REPLICATE_BASE_URL']}/predictions/{prediction.id}"


def test_a_prediction_waited_for_in_vain_is_still_starting(client: Replicate) -> None:
    response = client.predictions.with_raw_response.create(
        version="demo/echo", input=FOREVER, prefer="wait=1"
    )
    assert response.http_response.status_code == httpx.codes.ACCEPTED
    assert response.headers["preference-applied"] == "wait=1"
    prediction = response.parse()
    assert prediction.status == "starting"
    assert client.predictions.cancel(prediction_id=prediction.id).status == "canceled"


def test_a_client_may_say_when_it_is_too_late(client: Replicate) -> None:
    prediction = echoed(client, FOREVER, cancel_after="1m")
    assert prediction.deadline > prediction.created_at
    client.predictions.cancel(prediction_id=prediction.id)


def test_predictions_are_listed_newest_first_from_page_to_page(client: Replicate) -> None:
    created = [echoed(client, {"text": str(number)}).id for number in range(3)]
    pairs = client.predictions.list(extra_query={"limit": "2"})
    assert [prediction.id for prediction in islice(pairs, 3)] == created[::-1]


def test_predictions_are_listed_by_time_and_source(client: Replicate) -> None:
    before, after = (echoed(client, {"text": text}) for text in ("before", "after"))
    since = client.predictions.list(created_after=after.created_at, extra_query={"source": "api"})
    assert before.id not in {prediction.id for prediction in since}


def test_a_client_with_little_patience_makes_one_prediction(client: Replicate) -> None:
    """It repeats what takes longer than its time-out, with no key by which to know the request again."""
    slow = {"text": "only once", "sleep": 1.5, "steps": 15}
    assert "".join(client.copy(timeout=1.0).run("demo/echo", input=slow)) == "only once"
    assert [prediction.input for prediction in client.predictions.list()].count(slow) == 1


def test_a_base_url_without_v1_works_as_well() -> None:
    base_url = os.environ["REPLICATE_BASE_URL"].removesuffix("/v1")
    assert "".join(Replicate(base_url=base_url).run("demo/echo", input={"text": "bare"})) == "bare"


def stranger_creates_a_model(client: Replicate) -> None:
    stranger = client.copy(bearer_token=os.environ["STRANGER_TOKEN"])
    stranger.models.create(owner="stranger", name="mine", visibility="private", hardware="cpu")


def knock_too_often(client: Replicate) -> None:
    once = client.copy(max_retries=0)
    for _ in range(10):
        with contextlib.suppress(replicate.UnprocessableEntityError):
            once.post("/auth/register", cast_to=object, body={})


def test_who_has_used_up_the_month_is_told_so_once(client: Replicate) -> None:
    stranger = client.copy(bearer_token=os.environ["STRANGER_TOKEN"])
    with pytest.raises(replicate.APIStatusError, match="Monthly spend limit reached") as refused:
        stranger.run("demo/echo", input={"text": "one more"})
    assert refused.value.status_code == 402
    assert refused.value.request.headers["x-stainless-retry-count"] == "0"


def test_repeats_do_not_put_off_the_moment_to_come_again(client: Replicate) -> None:
    waits = []
    for _ in range(10):
        try:
            knock_too_often(client)
        except replicate.RateLimitError as refused:
            waits.append(int(refused.response.headers["retry-after"]))
    assert len(waits) >= 9
    assert 60 >= waits[0] >= waits[-1] >= 1


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (replicate.UnprocessableEntityError, lambda client: client.run("demo/echo", input={"text": 5})),
        (replicate.NotFoundError, lambda client: client.predictions.get(prediction_id="nonesuch")),
        (replicate.AuthenticationError, lambda client: client.copy(bearer_token="wrong").account.get()),
        (replicate.PermissionDeniedError, stranger_creates_a_model),
        (replicate.RateLimitError, knock_too_often),
    ],
)
def test_errors_have_the_clients_classes(client: Replicate, error: type[Exception], call: Any) -> None:
    with pytest.raises(error):
        call(client)
