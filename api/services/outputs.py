"""Outputs that hold their files: `data:` URIs for clients that make no files of plain http URLs."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence

import msgspec

from db.blob_urls import replaced
from db.blobs import REFERENCE_PREFIX, BlobNotFound, Blobs, BlobStoreUnavailable, media_type_of
from db.documents import PredictionRecord

# Of all the files in one answer, before base64 makes them a third longer.
MAX_BYTES = 10_000_000


async def with_data(blobs: Blobs, records: Sequence[PredictionRecord]) -> list[PredictionRecord]:
    """The records with their outputs' files inside (RFC 2397), the first ones that fit into an answer.

    Others stay references, to be shown by their URLs; also those that cannot be read now.
    """
    return await asyncio.to_thread(_with_data, blobs, records)


def _with_data(blobs: Blobs, records: Sequence[PredictionRecord]) -> list[PredictionRecord]:
    left = MAX_BYTES

    def shown(key: str) -> str:
        nonlocal left
        reference = REFERENCE_PREFIX + key
        try:
            size = blobs.size_bytes(key)
            if size > left:
                return reference
            data = blobs.read(key)
        except BlobNotFound:
            return reference
        except BlobStoreUnavailable:
            left = -1  # so many attempts would keep the answer back
            return reference
        left -= len(data)
        return f"data:{media_type_of(key)};base64,{b64encode(data).decode()}"

    return [
        msgspec.structs.replace(record, output=replaced(record.output, "predictions", record.id, shown))
        for record in records
    ]
