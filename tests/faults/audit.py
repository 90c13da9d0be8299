"""The audit after a fault: every accepted prediction has ended, exactly once and rightly; none is made up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import psycopg

# An independent witness: whatever makes a prediction terminal, by whichever statement, leaves a row here.
_WITNESS = """
CREATE TABLE endings (id text NOT NULL, status text NOT NULL);
CREATE FUNCTION witness_ending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO endings VALUES (NEW.id, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER UPDATE OF status ON predictions
    FOR EACH ROW WHEN (NEW.status <> 'starting') EXECUTE FUNCTION witness_ending();
"""

_RECORDS = """
SELECT p.id, p.status, p.failure, p.attempts, p.output::jsonb = p.input::jsonb -> 'text' AS echoed,
       (SELECT count(*) FROM endings e WHERE e.id = p.id AND e.status = p.status) AS endings
FROM predictions p
"""


@dataclass(frozen=True)
class Record:
    """How one prediction ended. `attempts` is how often a lane has claimed it."""

    status: str
    failure: str | None
    attempts: int


def place_witness(database_url: str) -> None:
    """Have the database note every ending from now on."""
    with psycopg.connect(database_url) as connection:
        connection.execute(_WITNESS)


def audit(database_url: str, accepted: Collection[str], *, answers_lost: int = 0) -> Mapping[str, Record]:
    """Prove it, and return how each has ended.

    Where an answer was lost, or said that nobody can tell, the prediction may exist or not; what exists
    must have ended all the same.
    """
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(_RECORDS).fetchall()
        queued = connection.execute("SELECT id, lane, attempt, losses FROM queue").fetchall()
        endings = connection.execute("SELECT count(*) FROM endings").fetchone()
    assert queued == [], f"{len(queued)} predictions never ended"
    stored = {row[0] for row in rows}
    assert len(accepted) == len(set(accepted)), "an id was given twice"
    assert set(accepted) <= stored, f"{len(set(accepted) - stored)} accepted predictions are lost"
    assert len(stored) <= len(accepted) + answers_lost, "there are predictions that nobody asked for"
    assert [row[0] for row in rows if row[1] not in ("succeeded", "failed", "canceled")] == []
    assert [row[0] for row in rows if row[1] == "succeeded" and not row[4]] == [], "outputs are wrong"
    assert [row[0] for row in rows if row[5] != 1] == [], "some did not end exactly once"
    assert endings == (len(stored),)
    return {row[0]: Record(status=row[1], failure=row[2], attempts=row[3]) for row in rows}
