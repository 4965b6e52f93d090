"""The pages for people, which load nothing from elsewhere.

`GET /` predicts and explains in the browser, by the other routes; `GET /docs` shows what these are.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "page"


@router.get("/")
async def page() -> HTMLResponse:
    """Predicts and explains in the browser."""
    return _whole("index", "index", "jobs")


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Shows the OpenAPI document."""
    return _whole("docs", "docs")


@cache
def _whole(name: str, *scripts: str) -> HTMLResponse:
    """A page with its style and scripts inside, which are all that a browser is to run or load."""
    content = (_FOLDER / f"{name}.html").read_text("utf-8")
    style = (_FOLDER / "page.css").read_text("utf-8")
    content, hashes = content.replace("/* page.css */", style), []
    for each in scripts:
        script = (_FOLDER / f"{each}.js").read_text("utf-8")
        content = content.replace(f"/* {each}.js */", script)
        hashes.append(f"'{_hash(script)}'")
    policy = (
        f"default-src 'none'; script-src {' '.join(hashes)}; style-src '{_hash(style)}'; connect-src 'self'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(content, headers=headers)


def _hash(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
