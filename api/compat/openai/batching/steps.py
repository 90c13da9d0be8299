"""The steps of a batch: each goes by what is stored, so anybody may take the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.compat.openai.batching.feeding import feed
from api.compat.openai.batching.lines import Checked, Checker, Line, lines_of
from api.compat.openai.batching.output import Answers
from api.compat.openai.schemas.batches import BatchError
from api.credentials import Principal
from api.gateway import Gateway
from db import submissions
from db.blobs import folder_of
from db.ids import new_id
from db.repositories.batches import Claim, Settled, Span
from db.tables import BatchLine, File

# Between two looks at the lines: of a batch that goes on, and of one whose predictions have not moved.
BUSY_SECONDS, STILL_SECONDS = 0.2, 0.5
# A file of nothing but mistakes is to leave a batch that can still be shown.
MAX_ERRORS = 10_000
_STORED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Step:
    """The next step of a batch, for its owner, on its input file."""

    gateway: Gateway
    claim: Claim
    owner: Principal
    file: File

    async def take(self) -> float:
        """Take it, and return in how many seconds the one after it is due. Raises `LostClaim`."""
        match self.claim.batch.status:
            case "validating":
                await self._validate()
            case "in_progress" if not self.claim.is_late:
                return await self._advance()
            case "in_progress":
                await self._call_off()
                await self.claim.move("finalizing")
            case "cancelling":
                await self._call_off()
                await self._finish()
            case "finalizing":
                await self._finish()
        return 0.0

    async def _validate(self) -> None:
        """Look into all lines, and let none run unless all of them may."""
        claim, settings = self.claim, self.gateway.settings
        checker = Checker(self.gateway, self.owner, claim.batch.endpoint)
        errors: list[BatchError] = []
        rows: list[dict[str, Any]] = []
        count = 0
        await claim.forget_lines()
        lines = lines_of(self.gateway.blobs, self._key, self.file.size, max_bytes=settings.body_limit_bytes)
        async for line in lines:
            count += 1
            if count > settings.batch_max_lines or len(errors) > MAX_ERRORS:
                break
            checked = await checker.check(line)
            if isinstance(checked, list):
                errors += checked
            elif not errors:
                rows.append(_row(line, checked))
            if len(rows) == _STORED_AT_ONCE:
                await claim.add_lines(rows)
                rows = []
            # Whoever else this process serves goes first.
            await asyncio.sleep(0)
        errors = [*errors[:MAX_ERRORS], *_of_file(count, settings.batch_max_lines, len(errors))]
        if errors:
            await claim.end("failed", errors=[error.model_dump() for error in errors])
        else:
            if rows:
                await claim.add_lines(rows)
            await claim.move("in_progress", total=count)

    async def _advance(self) -> float:
        """Note what has ended, and have as many predictions wait as there is room for."""
        claim, under_way = self.claim, await self.claim.under_way()
        ended = [line for line in under_way if line.has_ended]
        await claim.settle(
            [Settled(line.span.line, "completed" if line.has_succeeded else "failed") for line in ended]
        )
        await self._cancel([line.span for line in under_way if line.has_failed and not line.has_ended])
        missing = [line.span for line in under_way if not line.is_there]
        running = await claim.count_running()
        room = self.gateway.settings.batch_queue_rows - running
        fresh = await claim.take_lines(room) if room > 0 else []
        if not running and not fresh:
            await claim.move("finalizing")
            return 0.0
        await feed(self.gateway, self.owner, claim, self._key, [*missing, *fresh])
        return BUSY_SECONDS if ended or fresh else STILL_SECONDS

    async def _call_off(self) -> None:
        """Cancel what has not ended."""
        running = await self.claim.under_way(all=True)
        await self._cancel([line.span for line in running if not line.has_ended])

    async def _cancel(self, spans: Sequence[Span]) -> None:
        for span in spans:
            for prediction_id in span.prediction_ids:
                await submissions.cancel(self.gateway.engine, prediction_id)

    async def _finish(self) -> None:
        """Write the batch's files, and end it with them."""
        claim = self.claim
        if claim.batch.in_progress_at is None:  # no line of it was ever to run
            await claim.end("cancelled", total=0)
            return
        is_cancelled = claim.batch.status == "cancelling"
        with Answers(self.gateway, self.owner, claim.batch, self._key) as answers:
            line: BatchLine | None = None
            while lines := await claim.lines_after(line.line if line else 0, limit=_STORED_AT_ONCE):
                await answers.add(lines)
                line = lines[-1]
            status = "cancelled" if is_cancelled else "expired" if answers.undone else "completed"
            files = await answers.stored()
            await claim.end(status, list(files.values()), **answers.totals, **_ids(files))

    @property
    def _key(self) -> str:
        return folder_of("files", self.file.id)


def _row(line: Line, checked: Checked) -> dict[str, Any]:
    assert line.data is not None
    return {
        "line": line.number,
        "custom_id": checked.custom_id,
        "start": line.start,
        "size": len(line.data),
        "prediction_ids": [new_id() for _ in range(checked.prediction_count)],
    }


def _of_file(lines: int, max_lines: int, errors: int) -> list[BatchError]:
    if lines == 0:
        return [BatchError(code="empty_file", message="The file has no requests.")]
    if lines > max_lines:
        return [BatchError(code="too_many_lines", message=f"The file has more than {max_lines} requests.")]
    if errors > MAX_ERRORS:
        return [
            BatchError(
                code="too_many_errors", message=f"There are more errors: these are the first {MAX_ERRORS}."
            )
        ]
    return []


def _ids(files: dict[str, File]) -> dict[str, str]:
    return {f"{kind}_file_id": file.id for kind, file in files.items()}
