"""What a client is told when there is no answer: a status, a sentence, the record that it is about and what to do."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from seqclass.errors import BundleError, DeviceMemoryError, SeqclassError

log = logging.getLogger("seqclass.serve")


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="One sentence: where, what was found, what was expected, what to do")
    record: str | None = Field(default=None, description="The sequence, line or field that it is about")
    remedy: str | None = Field(default=None, description="What to do")


class RequestError(SeqclassError):
    """A request that the service does not answer.

    Args:
        status: The HTTP status.
        problem: As of `SeqclassError`.
        remedy: As of `SeqclassError`.
        record: As of `SeqclassError`.
        retry_after: Seconds after which to ask again.
    """

    def __init__(
        self,
        status: HTTPStatus,
        problem: str,
        *,
        remedy: str | None = None,
        record: str | int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(problem, remedy=remedy, record=record)
        self.status = status
        self.retry_after = retry_after


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says of these statuses in the OpenAPI document."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def invalid(error: ValidationError | RequestValidationError) -> RequestError:
    """What to raise about a request that does not have the fields that it should; the first of them is named."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return RequestError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        str(first["msg"]),
        remedy="See /docs for what is expected",
        record=f"'{field}'" if field else None,
    )


def answer_problems(app: FastAPI) -> None:
    """Turns every exception of a request into a `Problem`; what is nobody's input is logged with its traceback."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, SeqclassError)
        # A path on the server is nothing that a client should know or could use.
        error.file = None
        status = _status(error)
        headers = {}
        if isinstance(error, RequestError) and error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return _answer(status, headers, Problem(error=str(error), record=error.record, remedy=error.remedy))

    async def invalid_fields(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ValidationError | RequestValidationError)
        return await refused(request, invalid(error))

    async def unknown_route(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        told = f"{HTTPStatus(error.status_code).phrase}. See /docs for what there is."
        return _answer(error.status_code, dict(error.headers or {}), Problem(error=told))

    async def gone(*_: Any) -> JSONResponse:
        return _answer(HTTPStatus.BAD_REQUEST, {}, Problem(error="The client went away."))

    async def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, {}, Problem(error="The service failed; its log says how."))

    app.add_exception_handler(SeqclassError, refused)
    app.add_exception_handler(ValidationError, invalid_fields)
    app.add_exception_handler(RequestValidationError, invalid_fields)
    app.add_exception_handler(HTTPException, unknown_route)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, failed)


def _status(error: SeqclassError) -> HTTPStatus:
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, DeviceMemoryError):
        return HTTPStatus.INSUFFICIENT_STORAGE
    # Bundles are checked before they are served: what is wrong with one now is no fault of a client.
    return HTTPStatus.INTERNAL_SERVER_ERROR if isinstance(error, BundleError) else HTTPStatus.UNPROCESSABLE_ENTITY


def _answer(status: int, headers: dict[str, str], problem: Problem) -> JSONResponse:
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers)
