"""Forms with a recording in them, as OpenAI's clients send them."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from api.auth import admit
from api.compat.openai.requests import invalid, schema_of
from api.credentials import Principal
from api.errors import Invalid
from api.forms import form_parts
from api.gateway import gateway_of
from api.limits import RouteClass
from model_types.media.limits import readable_bytes

F = TypeVar("F", bound=BaseModel)

FILE = "file"
MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 1024


class FileTooLarge(HTTPException):
    """The file has more bytes than this server takes."""

    param = FILE

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"{FILE} is larger than {readable_bytes(max_bytes)}, which is the most")


async def admitted_form(request: Request, form_type: type[F]) -> tuple[Principal, F, bytes]:
    """Who calls, within their limit, what the form says, and its file.

    Raises `Unauthorized`, `RateLimited`, `Invalid` and `FileTooLarge`.
    """
    principal = await admit(request, RouteClass.CREATE)
    async with form_parts(
        request, max_files=1, max_fields=MAX_FIELDS, max_field_bytes=MAX_FIELD_BYTES
    ) as parts:
        file = parts.get(FILE)
        if not isinstance(file, UploadFile):
            raise Invalid([(FILE, "is required, as a file: a part with a filename")])
        max_bytes = gateway_of(request).settings.media_limits.of("audio").bytes
        if (file.size or 0) > max_bytes:
            raise FileTooLarge(max_bytes)
        try:
            form = form_type.model_validate(_fields(parts))
        except ValidationError as error:
            raise invalid(error) from None
        return principal, form, await file.read()


def _fields(parts: FormData) -> dict[str, Any]:
    """The form's fields without its file. What is called `name[]` is a list, also of one."""
    fields: dict[str, Any] = {}
    for name in parts:
        given = parts.getlist(name)
        if name.endswith("[]"):
            fields[name.removesuffix("[]")] = given
        elif name != FILE:
            fields[name] = given[0] if len(given) == 1 else given
    return fields


def form_described(form_type: type[BaseModel]) -> dict[str, Any]:
    """What FastAPI is told of a route that reads such a form by hand."""
    schema = schema_of(form_type)
    file = {"type": "string", "format": "binary", "description": "The recording."}
    schema["properties"] = {FILE: file, **schema["properties"]}
    schema["required"] = [FILE, *schema["required"]]
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}, "security": [{"HTTPBearer": []}]}
