"""What a route makes of a request's body: inputs of predictions, and of what became of them the answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from api.compat.openai.schemas.fields import OpenAIRequest
from api.services.versions import ResolvedVersion
from db.documents import PredictionRecord

B = TypeVar("B", bound=OpenAIRequest)

Input = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation(Generic[B]):
    """The translation of one route, which knows nothing of connections: batches use it as the route does.

    `inputs` has one for each prediction and raises `Invalid`; `answer` is the JSON text for as many succeeded
    predictions, in the same order, and raises `ModelFailed`. `parameters` tell what the fields of the inputs
    are called in a body.
    """

    path: str
    body_type: type[B]
    model_types: Collection[str]
    parameters: Callable[[B], Mapping[str, str]]
    inputs: Callable[[B, ResolvedVersion], list[Input]]
    answer: Callable[[B, ResolvedVersion, Sequence[PredictionRecord]], str]
