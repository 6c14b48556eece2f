"""The pages and what they ask for, on this machine alone.

Everything lies below a random token; requests for another host (a page that rebinds its name to
127.0.0.1) or from pages of another origin are refused. Photos are asked for by number, so no path
of a request ever reaches the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from densepose.errors import InputError, mistake_text
from densepose.prediction.photos import read_photo

from .actions import Actions, carry_out, decode_action
from .coco import write_annotations
from .events import Stroke
from .instance import Instance
from .picture import REGION_COLORS, draw_instance, regions_png
from .project import Project, StartPhoto
from .quality import quality_report
from .screen import Screen
from .views import VIEW_PX

logger = logging.getLogger(__name__)

ASSETS = Path(__file__).parent / "assets"
HOSTS = ["127.0.0.1", "localhost"]
_MOST_BYTES = 1_000_000
_SAVE_SECONDS = 20
_LARGEST_PX, _THUMB_PX = 2400, 160
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the token is in the address
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_LONG = {"Cache-Control": "private, max-age=3600"}


class Pages:
    """Answers requests about one project."""

    def __init__(self, project: Project, output: Path, start_photo: StartPhoto | None) -> None:
        """``start_photo`` is called when a photo is opened for the first time."""
        self.project, self.output, self.start_photo = project, output, start_photo
        self.screen = Screen(project)
        self.is_saved = True

    def routes(self) -> list[Route]:
        """Everything below the token."""
        return [
            Route("/", self.asset),
            Route("/start", self.start),
            Route("/photos", self.photos),
            Route("/next", self.next_photo),
            Route("/photo/{number:int}", self.photo),
            Route("/photo/{number:int}.jpg", self.pixels),
            Route("/regions/{instance:int}.png", self.regions),
            Route("/view/{region:int}/{view:int}.png", self.view),
            Route("/picture/{instance:int}.png", self.picture),
            Route("/quality", self.quality),
            Route("/instance/{instance:int}", self.instance),
            Route("/do", self.do, methods=["POST"]),
            Route("/{name}", self.asset),
        ]

    def asset(self, request: Request) -> Response:
        """The page, its script and its style; the folder's listing decides what there is."""
        name = request.path_params.get("name", "annotate.html")
        if name not in {path.name for path in ASSETS.iterdir()}:
            return problem("there is nothing of this name", 404)
        return FileResponse(ASSETS / name)

    def start(self, request: Request) -> Response:
        """What the page needs once."""
        project, regions = self.project, self.project.body.region_names
        return JSONResponse(
            {
                "photos": len(project.names),
                "regions": regions,
                "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in REGION_COLORS],
                "viewPx": VIEW_PX,
                "views": [self.screen.views(k + 1).names for k in range(len(regions))],
            }
        )

    def photos(self, request: Request) -> Response:
        """A stretch of the list of photos."""
        first, count = (_whole(request, key) for key in ("first", "count"))
        numbers = range(len(self.project.names))[first : first + min(count, 200)]
        names = self.project.names
        with self.project.lock:
            listed = [
                {"number": k, "name": names[k], **self.project.progress(names[k])} for k in numbers
            ]
        return JSONResponse(listed)

    def next_photo(self, request: Request) -> Response:
        """The next photo for an annotator to work on."""
        with self.project.lock:
            number = self.project.next_photo(_whole(request, "after"), request.query_params["who"])
        return JSONResponse({"number": number})

    def photo(self, request: Request) -> Response:
        """A photo that was opened: its size and its instances."""
        name = self._name(request)
        photo = self.project.open_photo(name, self.start_photo)
        height, width = photo.shape[:2]
        with self.project.lock:
            found = [self.project.instances[k] for k in self.project.of_image[name]]
            boxes = [{"id": i.id, "box": i.box, "finished": i.is_finished} for i in found]
        return JSONResponse({"name": name, "width": width, "height": height, "instances": boxes})

    def pixels(self, request: Request) -> Response:
        """The photo as every browser can show it, or a small one for the list."""
        photo = read_photo(self.project.photos[self._name(request)])
        most = _THUMB_PX if "small" in request.query_params else _LARGEST_PX
        factor = min(1.0, most / max(photo.shape[:2]))
        if factor < 1:
            photo = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 80 if most == _THUMB_PX else 92]
        data = cv2.imencode(".jpg", photo[..., ::-1], quality)[1].tobytes()
        return Response(data, media_type="image/jpeg", headers=_LONG)

    def regions(self, request: Request) -> Response:
        """The regions of an instance as a coloured layer over its box."""
        with self.project.lock:
            canvas = self._instance(request).canvas()
        return Response(regions_png(canvas), media_type="image/png")

    def view(self, request: Request) -> Response:
        """One of the six pictures of a region."""
        data = self.screen.picture(request.path_params["region"], request.path_params["view"])
        return Response(data, media_type="image/png", headers=_LONG)

    def picture(self, request: Request) -> Response:
        """The annotation of one instance as a picture to keep."""
        instance = self._instance(request)
        photo = read_photo(self.project.photos[instance.image])
        name = f"{Path(instance.image).stem}_{instance.id}.png"
        headers = {"Content-Disposition": f"inline; filename*=UTF-8''{_quoted(name)}"}
        data = draw_instance(photo, instance)
        return Response(data, media_type="image/png", headers=headers)

    def quality(self, request: Request) -> Response:
        """Agreement of annotators, and their errors where the truth is known."""
        return JSONResponse(quality_report(self.project).to_dict())

    def instance(self, request: Request) -> Response:
        """The state of an instance as one annotator sees it."""
        return JSONResponse(self.screen.state(self._instance(request), request.query_params["who"]))

    async def do(self, request: Request) -> Response:
        """Carry out an action; the answer is the new state of the instance."""
        if int(request.headers.get("content-length", _MOST_BYTES + 1)) > _MOST_BYTES:
            return problem(f"more than {_MOST_BYTES} bytes", 413)
        if request.headers.get("content-type") != "application/json":
            return problem("actions are sent as application/json", 415)
        try:
            action = decode_action(await request.body())
        except msgspec.MsgspecError as error:
            return problem(f"not an action: {error}", 400)
        return await run_in_threadpool(self._carry_out, action)

    def _carry_out(self, action: Actions) -> Response:
        self.is_saved = False
        number = carry_out(self.screen, action)
        if isinstance(action, Stroke):
            self.screen.prepare(action.region)
        with self.project.lock:
            instance = self.project.instances.get(number)
            if instance is None:
                return JSONResponse({"deleted": number})
            return JSONResponse(self.screen.state(instance, action.who))

    def _name(self, request: Request) -> str:
        return self.project.name_of(request.path_params["number"])

    def _instance(self, request: Request) -> Instance:
        return self.project.instance(request.path_params["instance"])

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Write the file now and then while pages are open, and at the end."""
        saving = asyncio.create_task(self._save_now_and_then())
        yield
        saving.cancel()
        self.screen.close()
        write_annotations(self.project, self.output)

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_SECONDS)
            if self.is_saved:
                continue
            self.is_saved = True
            try:
                await run_in_threadpool(write_annotations, self.project, self.output)
            except (InputError, OSError) as error:  # the log has everything; tried again
                logger.error("%s", mistake_text(error))
                self.is_saved = False


def make_app(pages: Pages, token: str) -> Starlette:
    """The application; its address is http://127.0.0.1:PORT/TOKEN/."""
    app = Starlette(
        routes=[Mount(f"/{token}", routes=pages.routes())],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
            Middleware(_SameOrigin),
        ],
        exception_handlers={InputError: _mistake, OSError: _mistake},
        lifespan=pages.lifespan,
    )
    return app


class _SameOrigin:
    """Refuses requests that a page of another origin sends, and adds headers to all answers."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{request.headers['host']}":
            await problem("pages of another origin are refused", 403)(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] += [
                    (name.lower().encode(), value.encode())
                    for name, value in _HEADERS.items()
                    if name.lower().encode() not in given
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def problem(text: str, status: int) -> Response:
    """An answer that the page shows as a sentence."""
    return JSONResponse({"problem": text}, status_code=status)


async def _mistake(request: Request, error: Exception) -> Response:
    return problem(mistake_text(error) or str(error), 507 if isinstance(error, OSError) else 400)


def _whole(request: Request, key: str) -> int:
    text = request.query_params.get(key, "")
    if not text.isdecimal():
        raise InputError(f"{key}: expected a whole number, got {text!r}")
    return int(text[:9])


def _quoted(name: str) -> str:
    return quote(name, safe="")
