"""What a version runs right after it was loaded, so that the first prediction finds everything warm."""

from __future__ import annotations

import logging
import time
from typing import Any

from model_types.base import DeviceLost, Failure
from model_types.batching import one_line
from workers.inputs import InputFiles
from workers.residency import Resident

logger = logging.getLogger(__name__)


def warm_up(resident: Resident, *, files: InputFiles) -> None:
    """Run the inputs that the version names in its option `warm_up`. What fails is logged, no more."""
    for value in resident.spec.options.get("warm_up") or ():
        started = time.monotonic()
        try:
            result = _run(resident, value, files)
        except DeviceLost:
            raise
        except Exception as error:
            result = Failure("model_error", one_line(error))
        if isinstance(result, Failure):
            logger.warning("a warm-up input of %s failed: %s", resident.spec.model, result.message)
        else:
            logger.info("warmed up %s in %.1f s", resident.spec.model, time.monotonic() - started)


def _run(resident: Resident, value: Any, files: InputFiles) -> Any:
    """The output of one input, alone in a session."""
    validated = resident.model.parse(value)
    for loading in files.load([("warm-up", validated)]):
        loading.wait()
    prepared = resident.model.prepare(validated)
    session = resident.model.session()
    session.add("warm-up", prepared)
    results: dict[str, Any] = {}
    while len(session):
        results |= session.step()
    return results["warm-up"]
