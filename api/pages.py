"""Keyset pages: every list is answered as {results, next, previous}."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Annotated, Any, Self, TypedDict, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Query
from starlette.requests import Request

from api.errors import Invalid
from api.urls import absolute
from db.repositories import keyset

T = TypeVar("T")

MAX_LIMIT = 100
_ID = re.compile(r"([a-z]+_)?[0-9a-v]{26}")
_TOKEN = re.compile(r"([no])([0-9a-z_]{26,64})")


class Page(TypedDict):
    """One page of a list. `next` (older) and `previous` (newer) are absolute URLs, or null at the ends."""

    results: list[Any]
    next: str | None
    previous: str | None


class Cursor(keyset.Cursor):
    """A place in a list as clients hold it: an opaque word."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """The place that a `cursor` parameter stands for. Raises `Invalid` for what no page has given."""
        if text is None:
            return None
        try:
            token = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        except ValueError:
            token = ""
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise Invalid([("cursor", "is not one of this list's")])
        return cls(match[2], newer=match[1] == "n")

    def __str__(self) -> str:
        token = ("n" if self.newer else "o") + self.id
        return urlsafe_b64encode(token.encode()).decode().rstrip("=")


def parse_cursor(cursor: Annotated[str | None, Query(max_length=200)] = None) -> Cursor | None:
    """The `cursor` parameter of a list."""
    return Cursor.parse(cursor)


CursorQuery = Annotated[Cursor | None, Depends(parse_cursor)]


def parse_after(
    after: Annotated[str | None, Query(max_length=100, description="OpenAI's `cursor`: an id.")] = None,
) -> Cursor | None:
    """The place that OpenAI's clients mean by the id of the last one that they have seen."""
    if after is not None and _ID.fullmatch(after) is None:
        raise Invalid([("after", "is not one of this list's")])
    return None if after is None else Cursor(after.rpartition("_")[2])


AfterQuery = Annotated[Cursor | None, Depends(parse_after)]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Results per page.")]


def page(
    request: Request,
    rows: Sequence[Any],
    *,
    limit: int,
    cursor: keyset.Cursor | None,
    key: Callable[[Any], str] = itemgetter("id"),
) -> Page:
    """A page out of `rows`, fetched by `db.repositories.keyset`: `limit` + 1 of them, from `cursor` outwards.

    `key` gives a row's id. Other parameters of the request's URL, filters for instance, stay in the links.
    """
    more = len(rows) > limit
    results = list(rows[:limit])
    newer = cursor is not None and cursor.newer
    if newer:
        results.reverse()
    has_older = newer or more
    has_newer = more if newer else cursor is not None
    older = Cursor(key(results[-1])) if results and has_older else None
    newest = Cursor(key(results[0]), newer=True) if results and has_newer else None
    return {"results": results, "next": _link(request, older), "previous": _link(request, newest)}


def listed(shown: Sequence[T], of: Callable[[T], Any], *, has_more: bool) -> dict[str, Any]:
    """The rows of a page as a list for OpenAI's clients; `of` makes an object with an `id` of each."""
    data = [of(row) for row in shown]
    ends = {"first_id": data[0].id if data else None, "last_id": data[-1].id if data else None}
    return {"object": "list", "data": data, **ends, "has_more": has_more}


def _link(request: Request, cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    others = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return absolute(request, f"{request.url.path}?{urlencode([*others, ('cursor', str(cursor))])}")
