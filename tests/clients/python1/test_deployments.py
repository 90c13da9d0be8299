"""Deployments by replicate 1.0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import replicate


@pytest.fixture
def deployment() -> Iterator[Any]:
    owner = replicate.default_client.accounts.current().username
    deployment = replicate.deployments.create(
        name="parrot",
        model="demo/echo",
        version=replicate.models.get("demo/echo").latest_version.id,
        hardware=replicate.hardware.list()[0].sku,
        min_instances=0,
        max_instances=1,
    )
    yield deployment
    assert replicate.deployments.delete(owner, "parrot") is True


def test_a_deployment_is_found_listed_and_changed(deployment: Any) -> None:
    assert deployment.current_release.number == 1
    assert deployment.current_release.configuration.max_instances == 1
    found = replicate.deployments.get(f"{deployment.owner}/{deployment.name}")
    assert found.current_release.model == "demo/echo"
    assert deployment.name in {listed.name for listed in replicate.deployments.list()}
    changed = replicate.deployments.update(deployment.owner, deployment.name, max_instances=2)
    assert changed.current_release.number == 2
    assert changed.current_release.configuration.max_instances == 2


def test_a_deployment_answers(deployment: Any) -> None:
    prediction = deployment.predictions.create({"text": "from the deployment"})
    prediction.wait()
    assert prediction.status == "succeeded"
    assert "".join(prediction.output) == "from the deployment"


def test_a_deployment_is_named_like_a_model(deployment: Any) -> None:
    name = f"{deployment.owner}/{deployment.name}"
    prediction = replicate.predictions.create(deployment=name, input={"text": "by its name"})
    prediction.wait()
    assert "".join(prediction.output) == "by its name"
