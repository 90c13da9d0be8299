"""What the headers of a request ask for: how long to hold the answer, and when to give up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from starlette.datastructures import Headers

from api.errors import Invalid

# Clients give up at the very second that they ask for: the answer is to be there before.
HOLD_MARGIN_SECONDS = 0.3
CANCEL_AFTER_MIN = timedelta(seconds=5)

_WAIT = re.compile(r'(?:^|[,;\s])wait(?:\s*=\s*"?(\d{1,6})"?)?(?:$|[,;\s])', re.IGNORECASE)
_DURATION = re.compile(r"(?=\d)(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hold:
    """An answer is to be held for up to `seconds`; `applied` says so to the client (RFC 7240)."""

    seconds: float
    applied: str


def hold(headers: Headers, most_seconds: float) -> Hold | None:
    """How long `Prefer` asks to wait (RFC 7240), as far as the server lets it; None when it does not ask.

    No longer than the client says that it reads (Replicate's newer client for Python does).
    """
    asked = _WAIT.search(",".join(headers.getlist("prefer")))
    if asked is None:
        return None
    patience = headers.get("x-stainless-read-timeout", "")
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", patience):
        most_seconds = max(0.0, min(most_seconds, float(patience) - HOLD_MARGIN_SECONDS))
    if asked[1] is None:
        return Hold(most_seconds, "wait")
    seconds = min(float(asked[1]), most_seconds)
    if seconds == 0:
        return None
    return Hold(min(seconds, float(asked[1]) - HOLD_MARGIN_SECONDS), f"wait={seconds:g}")


def cancel_after(headers: Headers) -> timedelta | None:
    """What `Cancel-After` allows a prediction, from its creation on: 30, 30s, 5m, 1h30m45s.

    Raises `Invalid` for what is no duration, and for less than five seconds.
    """
    text = headers.get("cancel-after")
    if text is None:
        return None
    parts = _DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0)
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if duration < CANCEL_AFTER_MIN:
        message = "must be a duration of five seconds or more, such as 30, 5m or 1h30m45s"
        raise Invalid([("Cancel-After", message)])
    return duration
