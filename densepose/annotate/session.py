"""From a folder of photos to pages and a file of annotations: what ``densepose annotate`` does."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvicorn

from densepose.errors import InputError
from densepose.files import atomic, to_json, write_text
from densepose.prediction.inputs import find_inputs, is_video
from densepose.prediction.model import Model

from . import events as ev
from .body import load_body
from .coco import import_annotations, read_boxes, write_annotations
from .events import EventLog
from .model import ModelStart
from .picture import draw_errors
from .project import Project, Start, StartPhoto
from .quality import quality_report
from .server import Pages, make_app

logger = logging.getLogger(__name__)

MODEL = "model"
TEST_PREFIX = "(test)/"


@dataclass(frozen=True)
class Options:
    """What a user can choose."""

    images: Path
    output: Path
    annotations: Path | None = None  # file to correct or continue
    boxes: str = ""  # file, or "model"
    surface: str = "template"
    points: int = 14
    overlap: float = 0.0
    tests: Path | None = None  # folder of a synthetic set
    port: int = 0
    open_browser: bool = True
    report: bool = False  # no pages


def annotate(
    options: Options, load_model: Callable[[], Model] | None, *, regions_from_model: bool = False
) -> str:
    """Serve the pages until the program is interrupted; returns what to print at the end.

    Args:
        options: see there.
        load_model: called if boxes or regions come from a model.
        regions_from_model: whether regions do.

    Raises:
        InputError: no photos, or a file does not fit them.
    """
    with open_project(options) as project:
        if not options.report:
            start = _photo_start(project, options, load_model, regions_from_model)
            serve(Pages(project, options.output, start), options.port, options.open_browser)
        written = write_annotations(project, options.output)
        report = quality_report(project)
        lines = [report.text()] if report.agreement.cm or report.test.cm else []
        if lines:
            path = options.output.with_suffix(".quality.json")
            write_text(path, to_json(report.to_dict()))
            measured = report.test if report.test.cm else report.agreement
            with atomic(path.with_suffix(".png")) as temporary:
                temporary.write_bytes(draw_errors(project.body, measured.mean_cm()))
            lines.append(f"{path} and .png: the same in files")
        return "\n\n".join([*lines, written.text()])


@contextlib.contextmanager
def open_project(options: Options) -> Iterator[Project]:
    """The project of some photos, with the log closed at the end."""
    photos = find_photos(options.images)
    truth: dict[str, Path] = {}
    if options.tests is not None:
        photos, truth = _with_tests(photos, options.tests)
    log = EventLog(Path(f"{options.output}.log"))
    try:
        is_new = not log.events
        if is_new and options.annotations is None and options.output.exists():
            raise InputError(
                f"{options.output}: exists, but not its log {log.path.name}; to continue the file"
                f" add --annotations {options.output}, else name another --output"
            )
        project = Project(
            photos,
            log,
            load_body(options.surface),
            points_per_region=options.points,
            overlap=options.overlap,
            truth=truth,
        )
        if is_new and options.annotations is not None:
            import_annotations(project, options.annotations)
        yield project
    finally:
        log.close()


def find_photos(folder: Path) -> dict[str, Path]:
    """Photos below a folder by their path in it, sorted; links that lead outside are not followed.

    Raises:
        InputError: no such folder, or no photo in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with photos")
    root = folder.resolve()
    inputs = find_inputs([str(root)])
    found = {
        path.relative_to(root).as_posix(): path
        for path in inputs.paths
        if root in path.resolve().parents and path.is_file() and not is_video(path)
    }
    if inputs.skipped:
        logger.info(inputs.skipped_text())
    if not found:
        raise InputError(f"{folder}: no photo in it, only videos or links that lead outside")
    return found


def _with_tests(photos: dict[str, Path], folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Photos with rendered ones spread evenly among them, and the truth of the latter."""
    rendered = sorted((folder / "images" / "train").glob("*.jpg"))
    truth = {
        TEST_PREFIX + path.name: folder / "truth" / "train" / f"{path.stem}_iuv.png"
        for path in rendered
    }
    place = {name: (k + 0.5) / len(photos) for k, name in enumerate(photos)}
    place |= {TEST_PREFIX + p.name: (k + 0.5) / len(rendered) for k, p in enumerate(rendered)}
    everything = photos | {TEST_PREFIX + path.name: path for path in rendered}
    return {name: everything[name] for name in sorted(place, key=place.__getitem__)}, truth


def _photo_start(
    project: Project,
    options: Options,
    load_model: Callable[[], Model] | None,
    regions_from_model: bool,
) -> StartPhoto:
    """What happens when a photo is opened for the first time."""
    if regions_from_model and not project.body.is_template:
        raise InputError("--parts model: the model knows the regions of the template alone")
    boxes: dict[str, list[list[float]]] = {}
    if options.boxes not in ("", MODEL):
        boxes = read_boxes(Path(options.boxes), project.names)
    model = None
    if load_model is not None:
        model = ModelStart(load_model(), boxes=options.boxes == MODEL, regions=regions_from_model)

    def start_photo(name: str, photo: np.ndarray, known: list[ev.Box]) -> list[Start]:
        known = known or [tuple(box) for box in boxes.get(name, ())]
        if model is not None:
            return model(photo, known)
        return [(box, "file", None) for box in known]

    return start_photo


def serve(pages: Pages, port: int, open_browser: bool) -> None:
    """Answer requests until the program is interrupted.

    Raises:
        InputError: the port is taken, or there is no such port.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"--port {port}: expected 0 to {2**16 - 1}; 0 takes a free one")
    token = secrets.token_urlsafe(18)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen()  # a browser that is quicker than the server waits
        except OSError as error:
            raise InputError(f"--port {port}: {error.strerror}; 0 takes a free one") from error
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/{token}/"
        print(f"{len(pages.project.names)} photos; open {address}  (Ctrl-C ends)", flush=True)
        if open_browser:
            webbrowser.open(address)
        # Without the log of requests: it would show the token.
        config = uvicorn.Config(make_app(pages, token), log_level="warning", access_log=False)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
