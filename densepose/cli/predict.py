"""``densepose predict``: the surface of the people in photos and videos."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from densepose.errors import DONE, SOME_FAILED, InputError

from .parser import (
    add_config_pairs,
    add_model,
    add_output,
    fraction,
    positive,
    renamed,
)

HELP = "find people and their body surface in photos and videos"
EXAMPLE = """\
densepose predict photo.jpg
densepose predict 'holiday/*.jpg' clip.mp4 --save iuv,npz --output found
densepose predict photos/ @list.txt --save overlay --style hr-viton --largest 1
densepose predict photo.jpg --weights R_50_FPN_s1x --device cpu     # fetches a released model
densepose predict photos/ --processes 4     # on as many GPUs, or on the CPU
densepose predict --camera 0 --seconds 10"""
# The table itself is in densepose.vis.styles, which takes longer to import than a help should.
STYLES = (
    "parts, u, v, charts, contour, iuv, confidence; or as other programs expect it: dp_segm,"
    " hr-viton, magicanimate, vid2densepose, controlnet-parula, controlnet-viridis"
)
CPU_OPS = "MODEL.CPU_OPS"
# Compiling the operators for CPU takes as long as they save on so many photos (800 px, one core).
_FEW_PHOTOS = 8


def words(text: str) -> tuple[str, ...]:
    """``iuv,npz`` -> the words."""
    return tuple(dict.fromkeys(word for word in text.split(",") if word))


def add_arguments(parser: ArgumentParser) -> None:
    """Which photos, by which model, and what is written."""
    add = parser.add_argument
    add("inputs", nargs="*", metavar="PHOTO", help="photo, video, folder, 'pattern' or @list.txt")
    add("--camera", metavar="N", help="number of a camera, or rtsp://...; Ctrl-C ends it")
    add("--seconds", type=positive, metavar="S", help="end the camera after S seconds")
    add_output(
        parser,
        "folder of the results; repeat the command to resume [new: output/predict/1, 2 ...]",
    )
    add(
        "--save",
        type=words,
        default=("page", "iuv", "video"),
        metavar="WHAT,WHAT",
        help="page, iuv (PNG: part, U x 255, V x 255), parts (PNG of part numbers), mask, overlay,"
        " npz (for Python), json (COCO challenge), video (of a video)",
    )
    add("--style", default="parts", metavar="S", help=f"of overlay and video: {STYLES}")
    add("--background", metavar="B", help="photo, grey, black or #rrggbb [that of the style]")
    add("--min-score", type=fraction, default=0.5, metavar="S", help="skip people below")
    add("--largest", type=positive, metavar="N", help="keep the N largest people of a photo")
    add("--frame-step", type=positive, default=1, metavar="N", help="take every N-th frame")
    add("--overwrite", action="store_true", help="delete earlier results in the folder")
    add_model(parser, "file, or name of a released model [those of the package]")
    add("--batch-size", type=positive, metavar="N", help="photos at once [8 on a GPU, else 1]")
    add("--half", action="store_true", help="half precision, on a GPU")
    add("--processes", type=positive, default=1, metavar="N", help="on N GPUs, or on the CPU")
    renamed(parser, "--save-predictions", "--save npz", dest="also_npz", const="npz")
    renamed(parser, "--save-iuv", "--save iuv", dest="also_iuv", const="iuv")
    parser.add_argument("--picture-size", help=SUPPRESS)  # has no effect any more
    add_config_pairs(parser, "config keys that replace those of the model")


def run(args: Namespace) -> int:
    """Predict with a progress bar; the last line says where the results are."""
    from densepose.engine.logs import quiet_libraries, setup_logging

    quiet_libraries()
    from densepose.prediction.inputs import find_inputs
    from densepose.prediction.model import load
    from densepose.prediction.predict import Wanted, predict

    if not args.inputs and args.camera is None:
        raise InputError("nothing to predict: name a photo, video, folder, pattern or --camera 0")
    save = (*args.save, getattr(args, "also_npz", ""), getattr(args, "also_iuv", ""))
    wanted = Wanted(
        save=tuple(dict.fromkeys(filter(None, save))),
        style=args.style,
        background=args.background,
        frame_step=args.frame_step,
    )
    inputs = find_inputs(args.inputs, Path(args.output) if args.output else None)
    setup_logging(None)
    options = dict(zip(args.opts[::2], args.opts[1::2], strict=True))
    if args.camera is None and CPU_OPS not in options and _plain_is_faster(inputs.paths):
        options[CPU_OPS] = "off"
    model = load(
        args.weights,
        args.config_file,
        options,
        device=args.device,
        min_score=args.min_score,
        largest=args.largest,
        half=args.half,
        confidence=args.style == "confidence",
        batch_size=args.batch_size or 0,
    )
    summary = predict(
        model,
        inputs.paths,
        args.output,
        wanted,
        overwrite=args.overwrite,
        processes=args.processes,
        camera=args.camera,
        camera_seconds=args.seconds,
    )
    if inputs.skipped:
        print(inputs.skipped_text())
    print(summary.text())
    return SOME_FAILED if summary.failed or summary.incomplete else DONE


def _plain_is_faster(paths: Sequence[Path]) -> bool:
    """Whether compiling the operators for CPU, once on a machine, takes longer than it saves."""
    from densepose.ops import tile_threads
    from densepose.prediction.inputs import is_video

    few = len(paths) <= _FEW_PHOTOS and not any(p.is_file() and is_video(p) for p in paths)
    return few and not tile_threads.compiled_before()
