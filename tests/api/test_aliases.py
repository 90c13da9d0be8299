"""Clients whose base URL has a /v1 too many or too few, and slashes at the end, are served all the same."""

from __future__ import annotations

import pytest

from tests.api.asking import add_model
from tests.api.conftest import BASE_URL, Served

pytestmark = pytest.mark.anyio

BODY = {"version": "root/echo", "input": {"text": "a"}}


@pytest.mark.parametrize(
    "path", ["/v1/predictions", "/v1/v1/predictions", "/predictions", "/predictions/", "/v1/predictions/"]
)
async def test_a_prediction_is_made_found_and_listed_by_every_form_of_its_path(
    served: Served, path: str
) -> None:
    root = await served.admin()
    await add_model(served, root)
    made = await served.http.post(path, json=BODY, headers=root)
    assert made.status_code == 201, made.text
    here = f"{path.rstrip('/')}/{made.json()['id']}"
    found = await served.http.get(here, headers=root)
    assert found.json()["urls"]["get"] == f"{BASE_URL}/v1/predictions/{made.json()['id']}"
    canceled = await served.http.post(f"{here}/cancel/", headers=root)
    assert canceled.json()["status"] == "canceled"
    listed = await served.http.get(f"{path}?limit=1", headers=root)
    assert [one["id"] for one in listed.json()["results"]] == [made.json()["id"]]


async def test_links_to_further_pages_are_the_proper_ones(served: Served) -> None:
    root = await served.admin()
    await add_model(served, root)
    for _ in range(2):
        await served.http.post("/predictions", json=BODY, headers=root)
    listed = (await served.http.get("/v1/v1/predictions?limit=1", headers=root)).json()
    assert listed["next"].startswith(f"{BASE_URL}/v1/predictions?limit=1&cursor=")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "//", "/health", "/health/", "/openapi.json", "/docs"])
async def test_pages_of_their_own_stay_where_they_are(served: Served, path: str) -> None:
    assert (await served.http.get(path)).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/v1", "/v1/v1/v1/predictions", "/nothing", "/v1x"])
async def test_what_means_nothing_is_not_found(served: Served, path: str) -> None:
    response = await served.http.get(path)
    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json")
