"""Lanes on the wire."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from api.schemas.fields import Moment
from db.tables import Lane as LaneRow


class Lane(BaseModel):
    """A worker's process, which serves one prediction or batch at a time."""

    id: str
    host: str
    slot: int = Field(description="Its place in its worker.")
    pools: list[str] = Field(description="The model types that it serves.")
    device: str = Field(description="cpu, cuda or mps; empty where the one that it should have is missing.")
    versions: list[str] = Field(description="The ids of those in its memory, the least recently used first.")
    kept: list[str] = Field(description="The ids of those that it keeps for deployments.")
    finished: int = Field(description="How many predictions it has finished.")
    started_at: Moment
    last_seen: Moment

    @classmethod
    def of(cls, row: LaneRow) -> Self:
        return cls(
            id=row.id,
            host=row.host,
            slot=row.slot,
            pools=row.pools,
            device=row.device,
            versions=row.resident,
            kept=row.kept,
            finished=row.finished,
            started_at=row.started_at,
            last_seen=row.last_seen,
        )


class Hardware(BaseModel):
    """What models may run on here."""

    sku: str = Field(description="cpu, cuda or mps")
    name: str


class Lanes(BaseModel):
    """All lanes that are alive."""

    results: list[Lane]
