"""``densepose texture``: take a texture off a photo, or put one on a photo's people."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from densepose.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from densepose.structures.prediction import ImagePrediction
    from densepose.surface.charts import ChartAtlas

HELP = "take a texture off a photo, or put one on the people of a photo"
EXAMPLE = """\
densepose texture take photo.jpg output/predictions/000000000042.npz -o texture.png
densepose texture take photo.jpg photo_IUV.png --iuv-order vui -o texture.png
densepose texture put photo.jpg iuv.png --texture texture.png --shading 0.7 -o dressed.png"""
TAKE, PUT = "take", "put"


def add_arguments(parser: ArgumentParser) -> None:
    """What to do, the photo, where its people's surface is, and the two directions' settings."""
    add = parser.add_argument
    add("action", choices=(TAKE, PUT), help="take: photo -> texture; put: texture -> photo")
    add("photo", type=Path, help="picture of people")
    add("iuv", type=Path, help="its prediction file (.npz), or an IUV picture of its size (.png)")
    add("--output", "-o", "--out", type=Path, required=True, metavar="PNG", help="picture to write")
    add(
        "--iuv-order",
        choices=("auto", "iuv", "vui"),
        default="auto",
        help="channels of an IUV picture; vui: as written with OpenCV [auto: find out]",
    )
    add(
        "--person",
        type=int,
        metavar="K",
        help="of a prediction file, 1 is the best score [1 for take, all for put]",
    )
    add("--min-score", type=float, default=0.0, help="skip people with a lower score [0]")
    take = parser.add_argument_group("take").add_argument
    take("--tile", type=int, default=200, metavar="N", help="side of a tile in px [200]")
    take(
        "--fill",
        action="store_true",
        help="fill the unseen texels of seen parts with the nearest colour",
    )
    take(
        "--surface",
        metavar="template|FILE",
        help="charts of the IUV: closes the seams between parts; template, or a file of"
        " densepose build-surface",
    )
    put = parser.add_argument_group("put").add_argument
    put(
        "--texture",
        type=Path,
        metavar="PNG",
        help="picture of 6 x 4 tiles, for example 1200 x 800 px",
    )
    put("--opacity", type=float, default=1.0, help="0 keeps the photo, 1 hides it [1]")
    put(
        "--shading",
        type=float,
        default=0.0,
        help="keep this much of the light and folds of the photo, 0 to 1 [0]",
    )
    put(
        "--sampling",
        choices=("bilinear", "nearest"),
        default="bilinear",
        help="nearest: the texel that detectron2's DensePose takes [bilinear]",
    )


def run(args: Namespace) -> int:
    """Take or put; one line at the end says what was written."""
    from densepose.prediction.photos import read_photo

    photo = read_photo(args.photo)
    iuv = _read_iuv(args)
    if iuv.shape != photo.shape:
        raise InputError(
            f"{args.iuv}: made for a photo of {iuv.shape[1]} x {iuv.shape[0]} px, but {args.photo}"
            f" has {photo.shape[1]} x {photo.shape[0]} px; scale neither, use the photo it was"
            " predicted on"
        )
    if not iuv[..., 0].any():
        raise InputError(f"{args.iuv}: shows no instance: no pixel belongs to a part")
    return _take(args, photo, iuv) if args.action == TAKE else _put(args, photo, iuv)


def _take(args: Namespace, photo: np.ndarray, iuv: np.ndarray) -> int:
    from densepose.vis.texture import SeamFiller, take_texture, write_texture

    if args.texture:
        raise InputError("--texture is for put; take writes a texture, to --output")
    atlas = _read_atlas(args.surface)
    tiles = take_texture(photo, iuv, tile_px=args.tile, **({"reach": 1.0} if args.fill else {}))
    if atlas is not None:
        tiles = SeamFiller(atlas, args.tile)(tiles)
    write_texture(args.output, tiles)
    known = tiles[..., 3] > 0
    parts = int(known.any(axis=(1, 2)).sum())
    print(f"{args.output}: texture of {parts} of 24 parts, {100 * known.mean():.0f}% of all texels")
    return 0


def _put(args: Namespace, photo: np.ndarray, iuv: np.ndarray) -> int:
    from PIL import Image

    from densepose.files import atomic
    from densepose.vis.texture import put_texture, read_texture

    if args.texture is None:
        raise InputError("put needs --texture PNG, a picture of 6 x 4 tiles")
    tiles = read_texture(args.texture)
    dressed = put_texture(
        photo, iuv, tiles, opacity=args.opacity, shading=args.shading, sampling=args.sampling
    )
    with atomic(args.output) as temporary:
        Image.fromarray(dressed).save(temporary)
    covered = (tiles[..., 3] > 0)[iuv[iuv[..., 0] > 0][:, 0] - 1].any(axis=(1, 2)).mean()
    print(f"{args.output}: {100 * covered:.0f}% of the people's pixels lie on parts with a texture")
    return 0


def _read_iuv(args: Namespace) -> np.ndarray:
    """The IUV image of the people that are wanted."""
    from densepose.vis.iuv_image import prediction_to_iuv, read_iuv_png

    if args.iuv.suffix.lower() != ".npz":
        if args.person is not None:
            raise InputError(
                f"{args.iuv}: --person chooses from a prediction file (.npz); an IUV picture does"
                " not say which pixel is whose"
            )
        return read_iuv_png(args.iuv, args.iuv_order)
    from densepose.evaluation.predictions import read_prediction

    prediction = read_prediction(args.iuv)
    person = 1 if args.person is None and args.action == TAKE else args.person
    if person is not None:
        prediction = _only(prediction, person, args.iuv)
    return prediction_to_iuv(prediction, args.min_score)


def _only(prediction: ImagePrediction, person: int, source: Path) -> ImagePrediction:
    """The prediction with one person, counted from 1, best score first."""
    if not 1 <= person <= len(prediction):
        raise InputError(f"{source}: no person {person}; there are {len(prediction)}")
    best_first = (-prediction.scores).argsort(kind="stable")
    return prediction.select(best_first[person - 1 : person])


def _read_atlas(surface: str | None) -> ChartAtlas | None:
    from densepose.surface.charts import load_template_atlas
    from densepose.surface.evaluation_surface import is_own_surface
    from densepose.surface.own.surface_file import read_own_surface

    if surface is None:
        return None
    if surface == "template":
        return load_template_atlas()
    if is_own_surface(surface):
        return read_own_surface(surface).atlas
    raise InputError(
        f"--surface must be template or a file of densepose build-surface (.npz), got {surface!r}"
    )
