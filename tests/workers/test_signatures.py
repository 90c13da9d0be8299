"""Webhooks are signed as Standard Webhooks asks: its own library, and known signatures, agree."""

from __future__ import annotations

import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from db.webhook_secrets import new_secret
from workers.signatures import signature_headers

BODY = '{"output":"häuser"}'.encode()


def test_known_messages_have_their_known_signatures() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signature_headers(
        [secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at=1614265330
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_whoever_knows_one_of_the_secrets_can_verify() -> None:
    new, old = new_secret(), new_secret()
    headers = signature_headers([new, old], "msg_1", BODY, at=int(time.time()))
    for secret in (new, old):
        assert Webhook(secret).verify(BODY, headers) == {"output": "häuser"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


@pytest.mark.parametrize(
    ("header", "value"),
    [("webhook-id", "msg_2"), ("webhook-timestamp", str(int(time.time()) - 1))],
    ids=["id", "time"],
)
def test_neither_the_id_nor_the_time_can_be_changed(header: str, value: str) -> None:
    secret = new_secret()
    headers = signature_headers([secret], "msg_1", BODY, at=int(time.time()))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers | {header: value})
