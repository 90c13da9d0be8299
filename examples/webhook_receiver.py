"""Receives webhooks, believes only those that are signed, and prints what they tell.

pip install httpx standardwebhooks
export REPLICATE_API_TOKEN=…                         # `make run` prints it
export REPLICATE_BASE_URL=http://127.0.0.1:8000
python examples/webhook_receiver.py 9000

Then create a prediction with "webhook": "http://127.0.0.1:9000/".
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
from standardwebhooks import Webhook, WebhookVerificationError


def secret() -> str:
    """The key with which Augury signs the webhooks of this account: whsec_…"""
    response = httpx.get(
        f"{os.environ['REPLICATE_BASE_URL']}/v1/webhooks/default/secret",
        headers={"Authorization": f"Bearer {os.environ['REPLICATE_API_TOKEN']}"},
    )
    response.raise_for_status()
    return str(response.json()["key"])


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is signed, 400 to all else. Whatever is not answered 2xx comes again later."""

    webhook: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self.webhook.verify(body.decode(), dict(self.headers.items()))
        except WebhookVerificationError as error:
            self.send_response(400)
            print(f"refused: {error}", flush=True)
        else:
            self.send_response(204)
            prediction = json.loads(body)
            print(prediction["id"], prediction["status"], json.dumps(prediction["output"]), flush=True)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing but webhooks."""


def main() -> None:
    Receiver.webhook = Webhook(secret())
    server = HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Receiver)
    print(f"receiving at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
