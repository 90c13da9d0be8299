"""The signatures of webhooks, as Standard Webhooks 1.0 asks for them (standardwebhooks.com)."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable


def signature_headers(secrets: Iterable[str], message_id: str, body: bytes, *, at: int) -> dict[str, str]:
    """The three headers of a message that is sent `at` this time, in seconds since 1970.

    It is signed with each secret, `whsec_` and base64; a receiver needs to know one of them.
    """
    signed = f"{message_id}.{at}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = b64decode(secret.removeprefix("whsec_"))
    return f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
