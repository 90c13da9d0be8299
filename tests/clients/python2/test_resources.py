"""Files, models, deployments and the small things by replicate 2.0."""

from __future__ import annotations

import hashlib

import httpx
import pytest
import replicate
from replicate import Replicate


@pytest.fixture(scope="module")
def client() -> Replicate:
    return Replicate()


def test_a_file_is_created_found_listed_and_deleted(client: Replicate) -> None:
    """Its metadata come flattened: metadata[colour]=blue."""
    file = client.files.create(
        content=b"some bytes", filename="a.txt", type="text/plain", metadata={"colour": "blue"}
    )
    assert (file.content_type, file.size) == ("text/plain", 10)
    assert file.checksums.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert file.metadata == {"colour": "blue"}
    assert client.files.get(file_id=file.id).created_at == file.created_at
    assert file.id in {listed.id for listed in client.files.list()}
    client.files.delete(file_id=file.id)
    with pytest.raises(replicate.NotFoundError):
        client.files.get(file_id=file.id)


def test_a_file_is_downloaded_by_its_signed_url(client: Replicate) -> None:
    file = client.files.create(content=b"some bytes")
    signed = httpx.URL(file.urls.download).params
    owner, expiry, signature = signed["owner"], int(signed["expiry"]), signed["signature"]
    response = client.files.download(file_id=file.id, owner=owner, expiry=expiry, signature=signature)
    assert response.read() == b"some bytes"


def test_an_output_file_is_read_without_a_token(client: Replicate) -> None:
    [url] = client.run("demo/echo", input={"text": "a file", "file": True})
    assert replicate.FileOutput(url, client).read() == b"a file"


def test_an_output_file_as_a_data_uri_is_read() -> None:
    client = Replicate(default_headers={"X-Augury-Output": "data"})
    [output] = client.run("demo/echo", input={"text": "a file", "file": True})
    assert output.read() == b"a file"


def test_models_are_found_listed_and_searched_for(client: Replicate) -> None:
    model = client.models.get(model_owner="demo", model_name="recital")
    assert model.latest_version.openapi_schema["components"]["schemas"]["Output"]["items"]["type"] == "string"
    assert "recital" in {listed.name for listed in client.models.list()}
    assert "recital" in {found.name for found in client.models.search(body="recital")}
    assert "recital" in {found.model.name for found in client.search(query="recital").models}


def test_versions_examples_and_readme(client: Replicate) -> None:
    model = {"model_owner": "demo", "model_name": "echo"}
    version = next(iter(client.models.versions.list(**model)))
    assert client.models.versions.get(**model, version_id=version.id).id == version.id
    assert client.models.examples.list(**model).results == []
    assert "digit" in client.models.readme.get(model_owner="demo", model_name="digits")


def deploy(client: Replicate, name: str) -> dict[str, str]:
    """Make a deployment of echo; return what names it in other calls."""
    client.deployments.create(
        name=name,
        model="demo/echo",
        version=client.models.get(model_owner="demo", model_name="echo").latest_version.id,
        hardware=client.hardware.list()[0].sku,
        min_instances=0,
        max_instances=1,
    )
    return {"deployment_owner": client.account.get().username, "deployment_name": name}


def test_a_deployment_lives_its_life(client: Replicate) -> None:
    of_it = deploy(client, "parrot-2")
    prediction = client.deployments.predictions.create(**of_it, input={"text": "hello"}, prefer="wait=20")
    assert (prediction.status, "".join(prediction.output)) == ("succeeded", "hello")
    assert client.deployments.update(**of_it, max_instances=2).current_release.number == 2
    assert "parrot-2" in {deployment.name for deployment in client.deployments.list()}
    client.deployments.delete(**of_it)
    with pytest.raises(replicate.NotFoundError):
        client.deployments.get(**of_it)


def test_what_would_be_refused_again_is_not_tried_again() -> None:
    """The client repeats what got a 409 or a 501, unless the answer tells it not to."""
    asked: list[str] = []
    noting = httpx.Client(event_hooks={"request": [lambda request: asked.append(request.method)]})
    client = Replicate(http_client=noting)
    of_it = deploy(client, "only-one")
    asked.clear()
    with pytest.raises(replicate.ConflictError):
        deploy(client, "only-one")
    with pytest.raises(replicate.InternalServerError, match="501"):
        client.trainings.create(
            model_owner="demo", model_name="echo", version_id="0", destination="demo/trained", input={}
        )
    assert asked.count("POST") == 2
    client.deployments.delete(**of_it)


def test_account_hardware_collections_and_the_secret_of_webhooks(client: Replicate) -> None:
    assert client.account.get().type == "user"
    assert client.hardware.list()[0].sku
    assert isinstance(client.collections.list().results, list)
    assert client.webhooks.default.secret.get().key.startswith("whsec_")
