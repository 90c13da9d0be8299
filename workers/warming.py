"""What a version runs right after it was loaded, so that the first prediction finds everything warm."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from model_types.base import DeviceLost, Failure
from model_types.batching import one_line
from workers.inputs import InputFiles
from workers.residency import Resident

logger = logging.getLogger(__name__)


# Engines warm up with a batch of one by themselves; these make it a batch of any size.
PLAIN_INPUTS: Mapping[str, dict[str, Any]] = {
    "text-generation": {"prompt": "warm up", "max_new_tokens": 2},
    "embeddings": {"text": "warm up"},
    "rerank": {"query": "warm", "documents": ["up"]},
}


def warm_up(resident: Resident, *, files: InputFiles, runs: int = 1, batch_size: int = 1) -> None:
    """Run the inputs that the version names in its option `warm_up`, each `runs` times, as a batch of copies.

    Where it names none, and a batch has more than one, they are its type's. What fails is logged, no more.
    """
    plain = PLAIN_INPUTS.get(resident.info.name) if batch_size > 1 else None
    inputs = resident.spec.options.get("warm_up") or ([plain] if plain else [])
    for value in [value for value in inputs for _ in range(runs)]:
        started = time.monotonic()
        try:
            result = _run(resident, value, files, batch_size)
        except DeviceLost:
            raise
        except Exception as error:
            result = Failure("model_error", one_line(error))
        if isinstance(result, Failure):
            logger.warning("a warm-up input of %s failed: %s", resident.spec.model, result.message)
        else:
            logger.info("warmed up %s in %.1f s", resident.spec.model, time.monotonic() - started)


def _run(resident: Resident, value: Any, files: InputFiles, batch_size: int) -> Any:
    """The output of one of an input's copies, which are alone in a session: as many as the version takes."""
    copies = [f"warm-up {number}" for number in range(min(batch_size, resident.max_batch))]
    validated = [resident.model.parse(value) for _ in copies]
    for loading in files.load(zip(copies, validated, strict=True)):
        loading.wait()
    session = resident.model.session()
    for name, one in zip(copies, validated, strict=True):
        session.add(name, resident.model.prepare(one))
    results: dict[str, Any] = {}
    while len(session):
        results |= session.step()
    return results[copies[0]]
