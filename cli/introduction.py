"""What a newcomer needs to know about a server that is ready."""

from __future__ import annotations

from cli.data_directory import Credentials
from cli.screen import Screen


def introduce(credentials: Credentials, screen: Screen, prediction_id: str | None = None) -> None:
    """Print where the server is, the token, and three lines to copy."""
    url, token = credentials.url, credentials.api_token
    screen.heading("Augury")
    screen.say(f"  API        {url}/v1")
    screen.say(f"  Docs       {url}/docs  {url}/redoc")
    screen.say(f"  User       {credentials.username} (password in credentials.json of the data directory)")
    screen.say(f"  API token  {token}")
    screen.heading("Try it")
    authorization = f"-H 'Authorization: Bearer {token}'"
    screen.say(f"curl -s {url}/v1/models {authorization}")
    screen.say(
        f"curl -s {url}/v1/predictions {authorization} -H 'Content-Type: application/json' "
        """-H 'Prefer: wait' -d '{"model": "demo/recital", "input": {"prompt": "Alice was"}}'"""
    )
    screen.say(f"curl -s {url}/v1/predictions/{prediction_id or 'PREDICTION_ID'} {authorization}")
