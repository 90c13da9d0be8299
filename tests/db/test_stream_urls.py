"""URLs of streams: signed, good for a day, and of one prediction each."""

from __future__ import annotations

import pytest

from db.ids import new_id
from db.stream_urls import URL_SECONDS, StreamUrls

BASE = "https://augury.example"
NOW = 1_800_000_000
URLS = StreamUrls("a secret")


def token_of(url: str) -> str:
    return url.removeprefix(f"{BASE}/v1/streams/")


def test_a_url_leads_to_its_prediction_and_needs_neither_a_query_nor_escaping() -> None:
    prediction_id = new_id()
    url = URLS.url(BASE, prediction_id)
    token = token_of(url)
    assert url == f"{BASE}/v1/streams/{token}"
    assert token.replace("-", "").isalnum()
    assert URLS.prediction_of(token) == prediction_id


def test_a_url_is_good_for_a_day_and_stays_the_same_for_a_while() -> None:
    prediction_id = new_id()
    token = token_of(URLS.url(BASE, prediction_id, now=NOW))
    assert URLS.prediction_of(token, now=NOW + URL_SECONDS - 1) == prediction_id
    assert URLS.prediction_of(token, now=NOW + URL_SECONDS * 9 / 8) is None
    assert len({URLS.url(BASE, prediction_id, now=NOW + second) for second in range(0, 3600, 60)}) <= 2


@pytest.mark.parametrize("forged", ["", "x", "ä", "\ud800", "a" * 10_000, f"{'0' * 26}-ffffffff-{'0' * 64}"])
def test_what_was_not_made_here_leads_nowhere(forged: str) -> None:
    assert URLS.prediction_of(forged) is None


def test_no_part_of_a_url_can_be_exchanged() -> None:
    prediction_id, expires, signature = token_of(URLS.url(BASE, new_id(), now=NOW)).split("-")
    later = f"{int(expires, 16) + 1:x}"
    for parts in (
        (new_id(), expires, signature),
        (prediction_id, later, signature),
        (prediction_id, f"0{expires}", signature),
        (prediction_id, expires, signature[::-1]),
        (prediction_id, expires, f"{signature}\n"),
        (prediction_id, expires, signature.upper()),
    ):
        assert URLS.prediction_of("-".join(parts), now=NOW) is None
    mine = "-".join((prediction_id, expires, signature))
    assert StreamUrls("another secret").prediction_of(mine, now=NOW) is None
