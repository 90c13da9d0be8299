"""The page behind `urls.web` of a prediction."""

from __future__ import annotations

import re
from html import escape

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse

from api.access import visitor
from api.urls import base_url
from db.errors import NotFound
from db.ids import ID_LENGTH

router = APIRouter(include_in_schema=False, dependencies=[Depends(visitor)])

_ID = re.compile(rf"[0-9a-v]{{{ID_LENGTH}}}", re.ASCII)
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Prediction {id}</title>
<style>body {{ font: 1rem/1.5 system-ui; max-width: 50rem; margin: 3rem auto; padding: 0 1rem }}</style>
<h1>Prediction {id}</h1>
<p>What it was asked and what it has come to is its owner's alone to see, with a token:</p>
<pre>curl -H "Authorization: Bearer $AUGURY_TOKEN" {url}</pre>
<p><a href="{base}/docs">The API</a></p>
</html>
"""
# The page runs nothing and loads nothing.
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/p/{prediction_id}")
async def prediction(request: Request, prediction_id: str) -> HTMLResponse:
    """How to look at a prediction. Whoever comes by a browser has no token, so it does not look itself."""
    if _ID.fullmatch(prediction_id) is None:
        raise NotFound(f"there is no prediction {prediction_id[:64]!r}")
    base = escape(base_url(request))
    url = f"{base}/v1/predictions/{prediction_id}"
    return HTMLResponse(_PAGE.format(id=prediction_id, url=url, base=base), headers=_HEADERS)
