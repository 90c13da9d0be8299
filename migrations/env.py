"""How Alembic reaches the database: by the URL it is given, else by DATABASE_URL."""

from typing import Literal

from alembic import context
from sqlalchemy.schema import SchemaItem

from db.session import sync_engine
from db.settings import DatabaseSettings
from db.tables import Base


def _is_ours(
    item: SchemaItem, name: str | None, kind: str, reflected: bool, compare_to: SchemaItem | None
) -> bool:
    """Leave the partitions of `predictions` to db/partitions.py; only their parent has a class."""
    table = name if kind == "table" else getattr(getattr(item, "table", None), "name", None)
    return not (table or "").startswith("predictions_")


def _settings() -> DatabaseSettings:
    url = context.config.get_main_option("sqlalchemy.url")
    return DatabaseSettings(database_url=url) if url else DatabaseSettings()


def _run() -> None:
    engine = sync_engine(_settings(), pool_size=1)
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_object=_is_ours,
            compare_server_default=_same_default,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


def _same_default(*_: object) -> Literal[False]:
    """Defaults are compared by review: PostgreSQL prints them in its own words."""
    return False


_run()
