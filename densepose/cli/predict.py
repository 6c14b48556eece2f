"""``densepose predict``: the surface of the people in photos and videos."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from .parser import add_config_pairs

HELP = "find people and their body surface in photos and videos"
EXAMPLE = """\
densepose predict photo.jpg --output found                      # with the weights of the package
densepose predict 'holiday/*.jpg' --output found --save-iuv --save-predictions
densepose predict --config-file F --weights W photos/ clip.mp4 --output found --largest 1
densepose predict --weights zoo://R_50_FPN_s1x photos/ --output found MODEL.DEVICE cpu"""


def share(text: str) -> float:
    """A score between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return value


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def add_arguments(parser: ArgumentParser) -> None:
    """What is looked at, by which model, and what is written."""
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="PHOTO",
        help="photos, videos, folders or quoted patterns",
    )
    add("--output", "--out", required=True, metavar="DIR", help="folder to write; goes on in it")
    add("--config-file", default="", metavar="FILE", help="YAML file of the model")
    add(
        "--weights",
        metavar="FILE",
        help="weights, or zoo://NAME; default: shipped://, the package's",
    )
    add(
        "--min-score",
        type=share,
        default=0.5,
        metavar="S",
        help="people with a lower score are left out everywhere (default 0.5)",
    )
    add("--largest", type=positive, metavar="N", help="only the N largest people of a photo")
    add("--save-predictions", action="store_true", help="write prediction files (.npz) too")
    add("--save-iuv", action="store_true", help="write IUV images (.png) too")
    add(
        "--picture-size",
        type=positive,
        default=800,
        metavar="PX",
        help="longest side of each of the four pictures of a photo at most (default 800)",
    )
    add("--frame-step", type=positive, default=1, metavar="N", help="every N-th frame of a video")
    add("--overwrite", action="store_true", help="delete earlier results in the folder")
    add_config_pairs(parser, "config keys that replace those of the model")


def run(args: Namespace) -> int:
    """Predict with a progress bar; the last line says where the results are."""
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.prediction.run import predict_command

    text, status = predict_command(args)
    print(text)
    return status
