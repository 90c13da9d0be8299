"""Models, versions and the small things around them by replicate 1.0."""

from __future__ import annotations

import pytest
import replicate
from replicate.exceptions import ReplicateError


def test_a_model_has_what_the_client_demands() -> None:
    model = replicate.models.get("demo/echo")
    assert (model.owner, model.name, model.visibility) == ("demo", "echo", "public")
    assert isinstance(model.run_count, int)
    assert model.url.startswith("http")
    assert model.latest_version.cog_version


def test_the_list_of_models_leads_through_all_of_them() -> None:
    listed = [model.id for page in replicate.paginate(replicate.models.list) for model in page]
    assert {"demo/echo", "demo/recital", "demo/digits"} <= set(listed)
    assert len(set(listed)) == len(listed)


def test_search_finds_a_model_by_what_it_is_for() -> None:
    assert "demo/recital" in {model.id for model in replicate.models.search("recital")}


def test_versions_have_schemas_in_cogs_dialect() -> None:
    model = replicate.models.get("demo/recital")
    version = next(iter(model.versions.list()))
    assert version.id == model.versions.get(version.id).id == model.latest_version.id
    schemas = version.openapi_schema["components"]["schemas"]
    assert schemas["Input"]["properties"]["prompt"]["type"] == "string"
    assert schemas["Input"]["properties"]["prompt"]["x-order"] == 0
    assert schemas["Output"]["x-cog-array-type"] == "iterator"
    assert schemas["Output"]["x-cog-array-display"] == "concatenate"


def test_a_file_among_the_inputs_is_marked_as_a_uri() -> None:
    schema = replicate.models.get("demo/digits").latest_version.openapi_schema
    assert schema["components"]["schemas"]["Input"]["properties"]["image"]["format"] == "uri"


def test_a_model_is_created_and_deleted_with_its_versions() -> None:
    owner = replicate.default_client.accounts.current().username
    model = replicate.models.create(owner, "short-lived", visibility="private", hardware="cpu")
    assert model.latest_version is None
    version = {"owner": owner, "name": model.name, "model_type": "echo", "model_path": "echo"}
    replicate.default_client._request("POST", "/v1/models", json=version)
    model = replicate.models.get(owner, model.name)
    assert model.versions.delete(model.latest_version.id) is True
    assert replicate.models.delete(owner, model.name) is True


def test_deleting_a_version_that_is_not_there_is_told() -> None:
    with pytest.raises(ReplicateError) as refused:
        replicate.models.get("demo/echo").versions.delete("0" * 64)
    assert refused.value.status == 404


def test_who_am_i() -> None:
    account = replicate.default_client.accounts.current()
    assert account.type == "user"
    assert account.username


def test_hardware_has_a_name_and_a_sku() -> None:
    assert all(hardware.sku and hardware.name for hardware in replicate.hardware.list())
    assert replicate.hardware.list()


def test_collections_are_a_page() -> None:
    assert isinstance(replicate.collections.list().results, list)


def test_training_is_not_offered_and_says_so() -> None:
    version = replicate.models.get("demo/echo").latest_version.id
    with pytest.raises(ReplicateError) as refused:
        replicate.trainings.create(version=f"demo/echo:{version}", input={}, destination="demo/trained")
    assert refused.value.status == 501
    assert refused.value.detail
