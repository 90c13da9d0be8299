"""What an answer's text is to be, on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.compat.openai.schemas.fields import Ignored

ANY_OBJECT = {"type": "object"}


class _Format(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextFormat(_Format):
    """Whatever the model writes."""

    type: Literal["text"]

    @property
    def wanted(self) -> None:
        """Nothing in particular."""
        return


class ObjectFormat(_Format):
    """A JSON object."""

    type: Literal["json_object"]

    @property
    def wanted(self) -> dict[str, Any]:
        """The schema of all objects."""
        return ANY_OBJECT


class NamedSchema(_Format):
    """A JSON Schema; `strict` or not, what the model writes fits it."""

    name: str
    description: Ignored = None
    content: dict[str, Any] = Field(ANY_OBJECT, alias="schema")
    strict: Ignored = None


class SchemaFormat(_Format):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema

    @property
    def wanted(self) -> dict[str, Any]:
        """The schema."""
        return self.json_schema.content


ResponseFormat = Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")]
"""What an answer's text is to be; `wanted` is its JSON Schema, if it has one."""
