"""What users' webhooks are signed with: a key each, made when it is first needed. Sync; workers only."""

from __future__ import annotations

import secrets
from base64 import b64encode

from sqlalchemy import Engine, text

_KEY_BYTES = 32

# Says nothing of users that do not exist, and leaves alone those that have a key.
MAKE = text(
    """
    INSERT INTO webhook_secrets (user_id, secret) SELECT id, :secret FROM users WHERE id = :user
    ON CONFLICT (user_id) WHERE retires_at IS NULL DO NOTHING
    """
)

CURRENT = text("SELECT secret FROM webhook_secrets WHERE user_id = :user AND retires_at IS NULL")


def new_secret() -> str:
    """A random key in the form of Standard Webhooks: `whsec_` and standard base64 of 32 bytes."""
    return f"whsec_{b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"


def make_secret(engine: Engine, user_id: str) -> list[str]:
    """The key of a user who has none yet; an empty list where there is no such user."""
    with engine.connect() as connection:
        connection.execute(MAKE, {"user": user_id, "secret": new_secret()})
        return list(connection.scalars(CURRENT, {"user": user_id}))
