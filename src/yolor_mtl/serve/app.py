"""The routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from yolor_mtl import __version__
from yolor_mtl.config import nearest
from yolor_mtl.inference.predictor import Predictor
from yolor_mtl.serve.examples import Drawn
from yolor_mtl.serve.limits import Limits, RefusedError
from yolor_mtl.serve.page import STATIC
from yolor_mtl.serve.responses import Envelope, problem
from yolor_mtl.serve.schema import Answer, Example, Health, Info, Thresholds, problems
from yolor_mtl.serve.service import Service

router = APIRouter()

_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "A JPEG, PNG, WebP, BMP, GIF, TIFF or PPM: in the form's field `file`, or as the body itself; "
        "the content type of a body that is no form does not matter.",
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE}},
            },
            **{kind: {"schema": _FILE} for kind in ("image/jpeg", "image/png", "application/octet-stream")},
        },
    }
}


def create_app(predictor: Predictor, limits: Limits | None = None, examples: Sequence[Drawn] = ()) -> FastAPI:
    """The application; ``app.state.service`` is its :class:`Service`.

    Args:
        predictor: the model. No other thread may use it while the application runs.
        limits: bounds.
        examples: pictures to try on the page.
    """
    service = Service(predictor, limits or Limits())

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        """From the first request to the last."""
        service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="yolor-mtl",
        version=__version__,
        description="Boxes, masks, a semantic map, a panoptic map and a caption of a picture.",
        lifespan=life,
        # Their pages load scripts from elsewhere, and nothing here needs a network.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.examples = list(examples)
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Envelope, metrics=service.metrics)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    return app


@router.post(
    "/predict",
    response_model=Answer,
    responses=problems(408, 413, 422, 429, 500, 503),
    openapi_extra=_BODY,
    summary="Boxes, masks, maps and a caption of a picture",
)
async def predict(request: Request, thresholds: Annotated[Thresholds, Query()]) -> Response:
    """One object, as a line of `predictions.jsonl`, with the maps' PNGs as data URIs."""
    return Response(await _service(request).answer(request, thresholds.options()), media_type="application/json")


@router.get("/healthz", response_model=Health, responses={503: {"model": Health, "description": "Not now."}})
async def healthz(request: Request) -> JSONResponse:
    """Whether pictures are taken."""
    healthy = _service(request).healthy
    return JSONResponse({"status": "ok" if healthy else "stopping"}, 200 if healthy else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' format"}},
)
async def metrics(request: Request) -> Response:
    """Counts and times for Prometheus."""
    service = _service(request)
    return Response(service.measure(), media_type=service.metrics.content_type)


@router.get("/info")
async def info(request: Request) -> Info:
    """What runs here: tasks, classes, limits and examples."""
    service = _service(request)
    model, limits = service.predictor.model, service.limits
    examples = [
        Example(url=f"examples/{number}.jpg", alt=drawn.text) for number, drawn in enumerate(request.app.state.examples)
    ]
    return Info(
        version=__version__,
        tasks=[task.name for task in model.tasks],
        classes=list(model.space.names),
        max_bytes=limits.max_bytes,
        max_pixels=limits.max_pixels,
        examples=examples,
    )


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(STATIC / "index.html")


@router.get("/examples/{number}.jpg", include_in_schema=False)
async def example(request: Request, number: int) -> Response:
    """A picture to try."""
    drawn: list[Drawn] = request.app.state.examples
    if not 0 <= number < len(drawn):
        raise RefusedError(404, "not_found", "no such example")
    return Response(drawn[number].jpeg, media_type="image/jpeg")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return problem(request, error)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """422 for query parameters, in the form of all other errors."""
    assert isinstance(error, RequestValidationError)
    return problem(request, RefusedError(422, "query", "; ".join(_words(entry) for entry in error.errors())))


def _words(entry: dict[str, Any]) -> str:
    name = str(entry["loc"][-1])
    if entry["type"] == "extra_forbidden":
        known = list(Thresholds.model_fields)
        return f"unknown query parameter {name!r}{nearest(name, known)}; there are: {', '.join(known)}"
    return f"{name}: {entry['msg']}"


def _http(request: Request, error: Exception) -> JSONResponse:
    """404, 405 and their like."""
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method"}
    response = problem(
        request, RefusedError(error.status_code, codes.get(error.status_code, "http"), str(error.detail))
    )
    response.headers.update(error.headers or {})
    return response
