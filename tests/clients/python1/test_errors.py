"""What replicate 1.0 makes of what goes wrong."""

from __future__ import annotations

import io
import os

import httpx
import pytest
import replicate
from replicate.exceptions import ReplicateError


def test_an_input_that_does_not_fit_says_which_field() -> None:
    with pytest.raises(ReplicateError) as refused:
        replicate.run("demo/echo", input={"text": 5})
    assert refused.value.status == 422
    assert "text" in refused.value.detail
    assert refused.value.title


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ReplicateError) as refused:
        replicate.models.get("nobody/nothing")
    assert refused.value.status == 404


def test_an_unknown_prediction_is_not_found() -> None:
    with pytest.raises(ReplicateError) as refused:
        replicate.predictions.get("nonesuch")
    assert refused.value.status == 404


def test_a_wrong_token_is_refused() -> None:
    with pytest.raises(ReplicateError) as refused:
        replicate.Client(api_token="wrong").predictions.list()
    assert refused.value.status == 401
    assert refused.value.detail


def test_who_may_not_do_something_is_told_so() -> None:
    stranger = replicate.Client(api_token=os.environ["STRANGER_TOKEN"])
    with pytest.raises(ReplicateError) as refused:
        stranger.models.create("stranger", "mine", visibility="private", hardware="cpu")
    assert refused.value.status == 403


def test_who_has_used_up_the_month_is_told_so() -> None:
    stranger = replicate.Client(api_token=os.environ["STRANGER_TOKEN"])
    with pytest.raises(ReplicateError) as refused:
        stranger.run("demo/echo", input={"text": "one more"})
    assert (refused.value.status, refused.value.title) == (402, "Monthly spend limit reached")
    assert "this month" in refused.value.detail


def test_predictions_of_others_are_not_there() -> None:
    prediction = replicate.models.predictions.create("demo/echo", {"text": "mine"})
    with pytest.raises(ReplicateError) as refused:
        replicate.Client(api_token=os.environ["STRANGER_TOKEN"]).predictions.get(prediction.id)
    assert refused.value.status == 404


@pytest.mark.parametrize("size", [1_500_000, 15_000_000])
def test_a_file_that_is_too_large_is_refused_before_it_has_all_come(size: int) -> None:
    with pytest.raises(ReplicateError) as refused:
        replicate.files.create(io.BytesIO(bytes(size)))
    assert refused.value.status == 413


def test_too_many_requests_are_told_when_to_come_again_and_repeats_do_not_put_it_off() -> None:
    knock = replicate.default_client._client.post
    answers = [knock("/v1/auth/register", json={}) for _ in range(10)]
    refused = [answer for answer in answers if answer.status_code == httpx.codes.TOO_MANY_REQUESTS]
    assert refused[-1] is answers[-1]
    assert ReplicateError.from_response(answers[-1]).detail
    waits = [int(answer.headers["retry-after"]) for answer in refused]
    assert 60 >= waits[0] >= waits[-1] >= 1


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "token", "bearer"])
def test_either_scheme_of_replicates_documentation_opens_the_door(scheme: str) -> None:
    token = os.environ["REPLICATE_API_TOKEN"]
    client = replicate.Client(headers={"Authorization": f"{scheme} {token}"})
    assert client.predictions.list() is not None


@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/predictions/"])
def test_a_slash_too_many_leads_nowhere_else(path: str) -> None:
    """The client does not follow redirects."""
    response = replicate.default_client._client.get(path)
    assert response.status_code == httpx.codes.OK
