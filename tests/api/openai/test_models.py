"""Models, as OpenAI's client lists and finds them."""

from __future__ import annotations

import asyncio

import openai
import pytest

from db.repositories.versions import note_available
from db.session import sync_engine
from db.settings import DatabaseSettings
from tests.api.asking import add_model, scalar
from tests.api.openai.conftest import MODEL, Stage

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_a_model_has_the_name_that_a_request_names_it_by(stage: Stage) -> None:
    async with stage("embeddings") as scene:
        found = await scene.client.models.retrieve(MODEL)
        assert (found.id, found.object, found.owned_by) == (MODEL, "model", "root")
        assert found.created > 1_700_000_000
        (listed,) = [model async for model in scene.client.models.list()]
        assert listed.id == MODEL
        with pytest.raises(openai.NotFoundError):
            await scene.client.models.retrieve("root/nobody")


@pytest.mark.slow
async def test_a_model_tells_its_modalities_and_how_long_its_vectors_are(
    stage: Stage, database_url: str
) -> None:
    async with stage("embeddings") as scene:
        found = (await scene.client.models.retrieve(MODEL)).to_dict()
        assert found["modalities"] == {"input": ["text"], "output": ["embedding"]}
        assert found["dimensions"] is None
        version = await scalar(scene.served, "SELECT id FROM model_versions")
        engine = sync_engine(DatabaseSettings(database_url=database_url))
        await asyncio.to_thread(note_available, engine, version, dimensions=384)
        engine.dispose()
        assert (await scene.client.models.retrieve(MODEL)).to_dict()["dimensions"] == 384
        await add_model(scene.served, scene.root, name="ears", model_type="speech-to-text")
        told = {model.id: model.to_dict() async for model in scene.client.models.list()}
        assert (told[MODEL]["dimensions"], told["root/ears"]["dimensions"]) == (384, None)
        assert told["root/ears"]["modalities"] == {"input": ["audio"], "output": ["text"]}
