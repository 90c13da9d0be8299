"""What a reranking takes, a query and documents, and the order it gives."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

BYTES_PER_TOKEN = 4
MAX_DOCUMENTS = 1024
MAX_TEXT_CHARACTERS = 1 << 17

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]


class Document(BaseModel):
    """A document as an object; what else it carries comes back with it and is not read."""

    model_config = ConfigDict(extra="allow")

    text: Text = Field(title="Text", description="What is read.")


class Input(BaseModel):
    """A query, and the documents to be ordered by how well they answer it."""

    model_config = ConfigDict(extra="forbid")

    query: Text = Field(
        title="Query",
        description="What is looked for.",
        json_schema_extra={"x-order": 0},
    )
    documents: list[Text | Document] = Field(
        min_length=1,
        max_length=MAX_DOCUMENTS,
        title="Documents",
        description=f"Up to {MAX_DOCUMENTS:,} texts, or objects with a `text`. Where a query and a document "
        "exceed the model's context together, the longer one is cut off.",
        json_schema_extra={"x-order": 1},
    )
    top_n: int | None = Field(
        default=None,
        ge=1,
        title="Top n",
        description="How many of the best to give; all if left out.",
        json_schema_extra={"x-order": 2},
    )
    return_documents: bool = Field(
        default=False,
        title="Return documents",
        description="Give each document with its score, as an object with a `text`.",
        json_schema_extra={"x-order": 3},
    )


class Ranked(TypedDict):
    """A document's place in the list that was given, from 0, and how well it answers.

    `relevance_score` is the model's own: 0 to 1 for most, any number for models that were trained so.
    """

    index: int
    relevance_score: float
    document: NotRequired[dict[str, object]]


Output = list[Ranked]


def text_of(document: str | Document) -> str:
    """What of a document is read."""
    return document if isinstance(document, str) else document.text


def cost(value: BaseModel) -> int:
    """Roughly how many tokens the pairs of an `Input` have, without a tokenizer."""
    assert isinstance(value, Input)
    query_bytes = len(value.query.encode())
    return sum(
        1 + (query_bytes + len(text_of(document).encode())) // BYTES_PER_TOKEN for document in value.documents
    )
