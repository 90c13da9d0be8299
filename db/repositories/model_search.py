"""Finding models by words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Integer, case, literal, or_
from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories.models import FoundModel, Viewer, with_latest
from db.tables import Model


@dataclass(frozen=True, slots=True)
class Match:
    """A model that was found, and how well it fits: more is better."""

    found: FoundModel
    score: int


async def search(
    session: AsyncSession, viewer: Viewer, words: Sequence[str], *, limit: int
) -> Sequence[Match]:
    """The models that have every one of these words somewhere, the best first; without words, all of them.

    A word counts most where it is the name, then in the name, the owner, the description and the readme.
    Among equals, the one that has run most goes first.
    """
    score: ColumnElement[int] = literal(0, Integer)
    for word in words:
        score = score + _score(word)
    query = (
        with_latest()
        .add_columns(score)
        .where(viewer.condition(), *[_holds(word) for word in words])
        .order_by(score.desc(), Model.run_count.desc(), Model.id.desc())
        .limit(limit)
    )
    return [Match((row[0], row[1]), row[2]) for row in await session.execute(query)]


def _holds(word: str) -> ColumnElement[bool]:
    columns = (Model.name, Model.owner, Model.description, Model.readme)
    return or_(*[column.icontains(word, autoescape=True) for column in columns])


def _score(word: str) -> ColumnElement[int]:
    return case(
        (Model.name_key == word.lower(), 16),
        (Model.name_key.startswith(word.lower(), autoescape=True), 8),
        (Model.name.icontains(word, autoescape=True), 4),
        (Model.owner.icontains(word, autoescape=True), 3),
        (Model.description.icontains(word, autoescape=True), 2),
        else_=1,
    )
