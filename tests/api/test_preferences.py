"""What clients ask for in headers, read without a server."""

from __future__ import annotations

from datetime import timedelta

import pytest
from starlette.datastructures import Headers

from api.errors import Invalid
from api.preferences import Hold, cancel_after, hold


def headers(name: str, *values: str) -> Headers:
    return Headers(raw=[(name.encode(), value.encode()) for value in values])


@pytest.mark.parametrize(
    ("prefer", "held"),
    [
        ([], None),
        ([""], None),
        (["respond-async"], None),
        (["waiting=5"], None),
        (["wait=soon"], None),
        (["wait=-5"], None),
        (["wait=0"], None),
        (["wait"], Hold(55, "wait")),
        # A client that gives up after five seconds has its answer before.
        (["wait=5"], Hold(4.7, "wait=5")),
        (["WAIT=5"], Hold(4.7, "wait=5")),
        (['wait="5"'], Hold(4.7, "wait=5")),
        (["wait = 5"], Hold(4.7, "wait=5")),
        (["wait=60"], Hold(55, "wait=55")),
        (["wait=9999"], Hold(55, "wait=55")),
        (["wait=5, respond-async"], Hold(4.7, "wait=5")),
        (["respond-async,wait=5"], Hold(4.7, "wait=5")),
        (["respond-async; wait=5"], Hold(4.7, "wait=5")),
        (["respond-async", "wait=5"], Hold(4.7, "wait=5")),
    ],
)
def test_the_preference_to_wait_is_read_as_http_has_it(prefer: list[str], held: Hold | None) -> None:
    assert hold(headers("prefer", *prefer), 55) == held


def test_nobody_is_held_for_longer_than_they_read() -> None:
    asked = Headers({"prefer": "wait", "x-stainless-read-timeout": "10.0"})
    assert hold(asked, 55) == Hold(9.7, "wait")
    for unclear in ("", "None", "inf"):
        asked = Headers({"prefer": "wait", "x-stainless-read-timeout": unclear})
        assert hold(asked, 55) == Hold(55, "wait")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("30", 30),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m45s", 5445),
        ("90m", 5400),
        (" 7s ", 7),
    ],
)
def test_a_deadline_is_read_in_every_form_that_replicate_takes(text: str, seconds: int) -> None:
    assert cancel_after(headers("cancel-after", text)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "4", "4s", "-5", "1.5h", "s", "5x", "5s5m", "٣٠", "9" * 40])
def test_what_is_no_deadline_is_refused_by_its_headers_name(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        cancel_after(Headers(raw=[(b"cancel-after", text.encode("utf-8"))]))
    assert caught.value.errors[0][0] == "Cancel-After"


def test_without_the_header_there_is_no_deadline() -> None:
    assert cancel_after(Headers({})) is None
