"""Sends prompts to a running server, and looks at what becomes of them, one request per command.

    python examples/simple_tester.py --url http://localhost:8000 generate \
        --prompt "Alice was" --model-name demo/recital

The token is AUGURY_TOKEN's, else the one that `augury up` has left in its data directory for a server on
this machine; a server with ALLOW_ANONYMOUS needs none but for `tasks`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import httpx

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
TIMEOUT_SECONDS = 600.0


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Try a server's tasks.")
    parser.add_argument("--url", default="http://localhost:8000")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("send-text", "Send a prompt; the answer has its task's id."),
        ("generate", "Send a prompt, and wait for the text."),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--prompt", required=True)
        command.add_argument("--model-name", help="Unless the server knows which.")
    commands.add_parser("health-check", help="See whether the server lives.")
    commands.add_parser("tasks", help="List your tasks.")
    commands.add_parser("get-task-status", help="Look at a task.").add_argument("--task-id", required=True)
    return parser.parse_args()


def token_for(url: httpx.URL) -> str | None:
    """The token for this server, where one is known. A local server's is sent to no other."""
    given = os.environ.get("AUGURY_TOKEN")
    file = Path(os.environ.get("AUGURY_DATA_DIR", ".augury"), "credentials.json")
    if given or url.host not in LOOPBACK or not file.is_file():
        return given
    credentials = json.loads(file.read_text())
    return credentials["api_token"] if httpx.URL(credentials["url"]).port == url.port else None


def ask(http: httpx.Client, asked: argparse.Namespace) -> httpx.Response:
    """Make the request that the command stands for."""
    match asked.command:
        case "health-check":
            return http.get("/health_check")
        case "tasks":
            return http.get("/tasks/")
        case "get-task-status":
            return http.get(f"/get_task_status/{asked.task_id}")
    body = {"prompt": asked.prompt, "model_name": asked.model_name}
    return http.post(f"/{asked.command.replace('-', '_')}", json=body)


def main() -> None:
    asked = arguments()
    token = token_for(httpx.URL(asked.url))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(base_url=asked.url, headers=headers, timeout=TIMEOUT_SECONDS) as http:
            response = ask(http, asked)
    except httpx.TransportError as error:
        sys.exit(f"{asked.url} cannot be reached: {error}")
    print(json.dumps(response.json(), indent=2, ensure_ascii=False))
    sys.exit(response.is_error)


if __name__ == "__main__":
    main()
