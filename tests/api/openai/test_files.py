"""Files as OpenAI's own client uploads, lists, reads and deletes them, beside those of Replicate's."""

from __future__ import annotations

import openai
import pytest

from tests.api.openai.conftest import Scene

pytestmark = pytest.mark.anyio

HOUR_SECONDS = 3600


@pytest.mark.slow
async def test_a_file_is_uploaded_found_read_and_deleted(chat: Scene) -> None:
    file = await chat.client.files.create(file=("requests.jsonl", b"{}\n"), purpose="batch")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", 3, "requests.jsonl", "batch")
    assert file.expires_at == file.created_at + 30 * 24 * HOUR_SECONDS
    assert await chat.client.files.retrieve(file.id) == file
    assert (await chat.client.files.wait_for_processing(file.id)).status == "processed"
    assert (await chat.client.files.content(file.id)).content == b"{}\n"
    gone = await chat.client.files.delete(file.id)
    assert (gone.id, gone.object, gone.deleted) == (file.id, "file", True)
    for asked in (chat.client.files.retrieve(file.id), chat.client.files.content(file.id)):
        with pytest.raises(openai.NotFoundError):
            await asked


@pytest.mark.slow
async def test_a_file_is_kept_for_as_long_as_its_owner_says(chat: Scene) -> None:
    file = await chat.client.files.create(
        file=b"{}", purpose="batch", expires_after={"anchor": "created_at", "seconds": HOUR_SECONDS}
    )
    assert file.expires_at == file.created_at + HOUR_SECONDS
    for wrong in (HOUR_SECONDS - 1, 31 * 24 * HOUR_SECONDS):
        with pytest.raises(openai.BadRequestError, match="expires_after"):
            await chat.client.files.create(
                file=b"{}", purpose="batch", expires_after={"anchor": "created_at", "seconds": wrong}
            )
    with pytest.raises(openai.BadRequestError, match="purpose"):
        await chat.client.files.create(file=b"{}", purpose="fine-tune")


@pytest.mark.slow
async def test_one_list_has_the_files_of_all_clients(chat: Scene) -> None:
    first = await chat.client.files.create(file=("1", b"1"), purpose="batch")
    second = await chat.client.files.create(file=("2", b"2"), purpose="user_data")
    uploaded = await chat.http.post("/v1/files", files={"content": ("3", b"3")}, headers=chat.root)
    third = uploaded.json()["id"]
    newest_first = [third, second.id, first.id]
    assert [file.id async for file in chat.client.files.list(limit=2)] == newest_first
    assert [file.id async for file in chat.client.files.list(limit=2, order="asc")] == newest_first[::-1]
    assert [file.id async for file in chat.client.files.list(purpose="batch")] == [first.id]
    page = await chat.client.files.list(after=third, limit=1)
    assert (page.data, page.has_more) == ([second], True)
    listed = (await chat.http.get("/v1/files", headers=chat.root)).json()
    assert [file["id"] for file in listed["results"]] == newest_first
    assert listed["results"][0] == uploaded.json()
    assert (listed["first_id"], listed["last_id"]) == (third, first.id)


@pytest.mark.slow
async def test_a_file_for_a_batch_may_be_larger_than_others(chat: Scene) -> None:
    chat.served.gateway.settings.file_limit_bytes = 10
    chat.served.gateway.settings.batch_file_bytes = 20
    assert (await chat.client.files.create(file=b"x" * 20, purpose="batch")).bytes == 20
    with pytest.raises(openai.APIStatusError) as refused:
        await chat.client.files.create(file=b"x" * 20, purpose="user_data")
    assert refused.value.status_code == 413
