"""URLs of files: signed, good for a while, and shown for a prediction's own files alone."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from db.blob_urls import BlobUrls
from db.blobs import folder_of
from db.ids import new_id

BASE = "https://augury.example"
KEY = "predictions/01abc/01abcdef/1/out-0.png"
DAY_SECONDS = 24 * 3600
URLS = BlobUrls("a secret", seconds=DAY_SECONDS)


def parts(url: str) -> tuple[str, str, str]:
    """The key, the expiry and the signature in a URL."""
    split = urlsplit(url)
    query = parse_qs(split.query)
    return split.path.removeprefix("/v1/blobs/"), query["expires"][0], query["signature"][0]


def test_a_url_that_was_made_here_is_known_and_any_other_is_not() -> None:
    url = URLS.url(BASE, KEY)
    assert url.startswith(f"{BASE}/v1/blobs/{KEY}?")
    key, expires, signature = parts(url)
    assert URLS.is_signed(key, expires=expires, signature=signature)
    later = str(int(expires) + 1)
    assert not URLS.is_signed(key + "x", expires=expires, signature=signature)
    assert not URLS.is_signed(key, expires=later, signature=signature)
    assert not URLS.is_signed(key, expires=f"{expires}\n", signature=signature)
    for forged in ("", "ä", "\ud800", signature[:-1], signature.upper()):
        assert not URLS.is_signed(key, expires=expires, signature=forged)
    assert not BlobUrls("another secret", seconds=60).is_signed(key, expires=expires, signature=signature)


def test_a_url_stays_the_same_for_a_while_and_is_good_for_as_long_as_promised() -> None:
    now = 1_800_000_000
    urls = {URLS.url(BASE, KEY, now=now + second) for second in range(0, 3600, 60)}
    assert len(urls) <= 2
    for moment in range(now, now + DAY_SECONDS, 1000):
        _, expires, _ = parts(URLS.url(BASE, KEY, now=moment))
        assert DAY_SECONDS <= int(expires) - moment <= DAY_SECONDS * 9 / 8


def rendered(value: Any, prediction_id: str) -> Any:
    return URLS.rendered(value, "predictions", prediction_id, base_url=BASE)


def test_a_predictions_own_files_are_shown_wherever_they_stand() -> None:
    own, other = new_id(), new_id()
    reference = f"blob:{folder_of('predictions', own)}/1/out-0.png"
    url = URLS.url(BASE, reference.removeprefix("blob:"))
    for value, shown in (
        (reference, url),
        ([reference], [url]),
        ({"images": [reference, None, 1.5], "text": "x"}, {"images": [url, None, 1.5], "text": "x"}),
        ([0.5, reference, 2], [0.5, url, 2]),
    ):
        assert rendered(value, own) == shown
        assert rendered(value, other) == value


def test_what_only_looks_like_a_file_stays_text() -> None:
    own = new_id()
    folder = folder_of("predictions", own)
    spoofed = ["blob:", f"blob:{folder}", f"blob:{folder}/../../x", f"see blob:{folder}/1/x", f"{folder}/1/x"]
    assert rendered(spoofed, own) == spoofed
    assert rendered(f"blob:{folder_of('inputs', own)}/x", own) == f"blob:{folder_of('inputs', own)}/x"


def test_vectors_are_passed_on_as_they_are() -> None:
    vectors = [[0.5] * 1000, [1] * 1000]
    shown = rendered(vectors, new_id())
    assert [one is other for one, other in zip(shown, vectors, strict=True)] == [True, True]


@pytest.mark.parametrize("levels", [10, 900])
def test_deep_json_is_shown_whatever_its_depth(levels: int) -> None:
    value = json.loads("[" * levels + "]" * levels)
    assert rendered(value, new_id()) == value


@pytest.mark.slow
def test_showing_vectors_costs_less_than_writing_them() -> None:
    vectors = [[0.123456789] * 1000 for _ in range(100)]
    prediction_id = new_id()

    def seconds(work: Any) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    showing = min(seconds(lambda: rendered(vectors, prediction_id)) for _ in range(5))
    writing = min(seconds(lambda: json.dumps(vectors)) for _ in range(5))
    assert showing < writing
