"""What an embedding takes, texts or the ids of their tokens, and the vectors it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field

BYTES_PER_TOKEN = 4
MAX_TEXTS = 2048
# Four times what a context of 32,768 tokens holds.
MAX_TEXT_CHARACTERS = 1 << 17

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
# Strict, so that a list of texts which look like numbers is not taken for ids.
TokenId = Annotated[int, Field(ge=0, strict=True)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]


class Input(BaseModel):
    """Texts, and which form their vectors shall have."""

    model_config = ConfigDict(extra="forbid")

    text: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_TEXTS)]
    ) = Field(
        title="Text",
        description=f"The text, or up to {MAX_TEXTS:,} texts. What exceeds the model's context is cut off. "
        "In place of each text the ids of its tokens may stand: all that the model is to read.",
        json_schema_extra={"x-order": 0},
    )
    dimensions: int | None = Field(
        default=None,
        ge=1,
        title="Dimensions",
        description="Keep only so many of the vector's first numbers, for models trained to be cut short "
        "(Matryoshka); all if left out.",
        json_schema_extra={"x-order": 1},
    )
    normalize: bool = Field(
        default=True,
        title="Normalize",
        description="Scale each vector to length 1, so that a dot product is the cosine of the angle.",
        json_schema_extra={"x-order": 2},
    )
    prompt_name: str | None = Field(
        default=None,
        min_length=1,
        title="Prompt name",
        description="Which of the prompts on the model's card goes before each text: `query`, `document`, or "
        "another one that the card has; its default if left out.",
        json_schema_extra={"x-order": 3},
    )

    @property
    def is_list(self) -> bool:
        """Whether there may be several texts."""
        return isinstance(self.text, list) and not isinstance(self.text[0], int)

    @property
    def texts(self) -> Sequence[str | list[int]]:
        """`text` as a list: texts, or the ids of their tokens."""
        # mypy cannot tell the lists apart by their first items.
        return cast(Sequence[str | list[int]], self.text if self.is_list else [self.text])


Vector = list[float]
Output = Vector | list[Vector]


def cost(value: BaseModel) -> int:
    """Roughly how many tokens the texts of an `Input` have, without a tokenizer."""
    assert isinstance(value, Input)
    return sum(
        1 + len(text.encode()) // BYTES_PER_TOKEN if isinstance(text, str) else len(text)
        for text in value.texts
    )
