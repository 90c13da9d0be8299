"""The home page: a prompt, and what a model makes of it."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Depends
from starlette.responses import HTMLResponse

from api.access import visitor

router = APIRouter(include_in_schema=False, dependencies=[Depends(visitor)])


@cache
def _page() -> tuple[str, dict[str, str]]:
    """The page, and a policy by which its own script runs and no other (CSP Level 3)."""
    text = Path(__file__).with_name("home.html").read_text("utf-8")
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, {"Content-Security-Policy": policy}


@router.get("/")
async def home() -> HTMLResponse:
    """A page to try models of texts with."""
    text, headers = _page()
    return HTMLResponse(text, headers=headers)
