"""What the text in a file's field is taken for."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis.strategies import binary, sampled_from

from model_types.media.limits import MediaLimits, UnusableFile
from model_types.media.references import Inline, Remote, parse_reference

LIMITS = MediaLimits(bytes=1000)
DATA = bytes(range(256))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("https://example.com/a.png", Remote("https://example.com/a.png")),
        ("HTTP://example.com/a.png", Remote("HTTP://example.com/a.png")),
        ("data:,a%20b%00", Inline(b"a b\0")),
        ("data:text/plain;charset=utf-8,a+b", Inline(b"a+b")),
        ("data:image/png;base64,aGVsbG8=", Inline(b"hello")),
        ("DATA:;BASE64,aGVsbG8", Inline(b"hello")),
        ("data:image/png;base64,aGVsbG8%3D", Inline(b"hello")),
        ("aGVs\r\nbG8=\n", Inline(b"hello")),
        (base64.b64encode(DATA).decode(), Inline(DATA)),
        (base64.urlsafe_b64encode(DATA).decode().rstrip("="), Inline(DATA)),
    ],
)
def test_a_reference_is_told_by_its_beginning(text: str, meaning: Remote | Inline) -> None:
    assert parse_reference(text, LIMITS) == meaning


@given(binary(min_size=1, max_size=1000), sampled_from(["{}", "data:image/png;base64,{}"]))
def test_any_bytes_come_back_out_of_base64(data: bytes, form: str) -> None:
    assert parse_reference(form.format(base64.b64encode(data).decode()), LIMITS) == Inline(data)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("/etc/passwd.png", "must be an http"),
        ("ftp://example.com/a.png", "must be an http"),
        ("file:///etc/passwd", "must be an http"),
        ("blob:inputs/1/0.png", "must be an http"),
        ("a cat, please", "must be an http"),
        ("bücher", "must be an http"),
        ("aGVsbG8=aGVs", "must be an http"),
        ("data:image/png;base64", "without a comma"),
        ("data:image/png;base64,!!", "not base64"),
        ("data:image/png;base64,", "is empty"),
        (" ", "is empty"),
        ("A" * 1400, "is larger than 1000 bytes"),
        ("data:," + "a" * 1001, "is larger than 1000 bytes"),
        ("data:;base64," + "A" * 1400, "is larger than 1000 bytes"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_reason(text: str, because: str) -> None:
    with pytest.raises(UnusableFile, match=because):
        parse_reference(text, LIMITS)
