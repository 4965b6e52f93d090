"""The bearer key that clients bring, where one is asked for."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from seqclass.errors import SeqclassError
from seqclass.serve.problems import RequestError
from seqclass.serve.service import Served

_LEAST = 16

_bearer = HTTPBearer(auto_error=False, description="Needed where the service was started with a key")


def read_key(file: str | Path) -> str:
    """The key in a file, without the white space around it.

    Raises:
        SeqclassError: The file cannot be read, or what it holds is no key.
    """
    try:
        key = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SeqclassError(
            f"the key cannot be read ({error})", remedy="Give a file that holds one line of ASCII letters", file=file
        ) from None
    if len(key) < _LEAST or len(key.split()) != 1:
        raise SeqclassError(
            f"this is no key of at least {_LEAST} characters without spaces",
            remedy="Make one, as in: python -c 'import secrets; print(secrets.token_urlsafe())'",
            file=file,
        )
    return key


async def check_key(service: Served, brought: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Refuses a client without the key; how long that takes says nothing of the key.

    Raises:
        RequestError: The service has a key, and the client brings none or another.
    """
    if service.key is None:
        return
    given = "" if brought is None else brought.credentials
    if not hmac.compare_digest(given.encode(), service.key.encode()):
        raise RequestError(
            HTTPStatus.UNAUTHORIZED,
            "the service's key is missing or wrong",
            remedy="Send it as the header 'Authorization: Bearer KEY'",
        )


Keyed = Depends(check_key)
"""Makes a route ask for the key."""
