"""``densepose inpaint``: dense annotations from sparse ones, by a teacher or without one."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from .parser import add_config_pairs

HELP = "make dense annotations: by a teacher, by a baseline, or from a synthetic set's truth"
EXAMPLE = """\
densepose inpaint --config-file configs/cpu/teacher.yaml --weights teacher.pth -o inpainted
densepose inpaint --config-file F --weights W --dataset NAME -o DIR --truth DIR   # how right?
densepose inpaint --method truth --config-file F --truth DIR -o DIR   # of a synthetic set
densepose inpaint --method smooth --dataset densepose_synthetic_train -o inpainted_smooth"""


def scale_list(text: str) -> tuple[float, ...]:
    """``0.85,1,1.2`` -> the numbers."""
    try:
        scales = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"expected numbers such as 0.85,1,1.2, got {text!r}") from None
    if not all(0.1 <= scale <= 10 for scale in scales):
        raise ArgumentTypeError(f"scales lie between 0.1 and 10, got {text!r}")
    return scales


def add_arguments(parser: ArgumentParser) -> None:
    """What inpaints, what is inpainted, and where to."""
    add = parser.add_argument
    add("--config-file", default="", metavar="FILE", help="YAML file of the teacher")
    add("--weights", metavar="FILE", help="weights of the teacher [MODEL.WEIGHTS]")
    add(
        "--dataset",
        action="append",
        metavar="NAME",
        help="registered data set, may be repeated [DATASETS.TRAIN of the config]",
    )
    add(
        "--output", "-o", "--out", metavar="DIR", help="folder to write; an interrupted run resumes"
    )
    add(
        "--method",
        choices=("teacher", "network", "nearest", "smooth", "surface", "truth"),
        default="teacher",
        help="teacher: network corrected by the annotated points [default]; network: uncorrected;"
        " nearest: nearest annotated point; smooth: thin-plate splines in each part; surface: the"
        " points interpolated on the body in three dimensions; truth: what --truth holds, an upper"
        " bound of all teachers",
    )
    add(
        "--scales",
        type=scale_list,
        default=(0.85, 1.0, 1.2),
        metavar="S,S",
        help="crop sizes that are averaged, as fractions of MODEL.DP_FCN.CROP_SIZE [0.85,1,1.2]",
    )
    add("--no-mirror", action="store_true", help="do not average with mirror images")
    add(
        "--truth",
        metavar="DIR",
        help="folder of complete truth (truth/SPLIT of a synthetic set): also report how right the"
        " pixels are, beside the network alone and the methods without a network;"
        " a relative path starts at the working folder or at the folder of all data sets",
    )
    add("--limit", type=int, metavar="N", help="only the first N images with annotated people")
    add_config_pairs(parser)


def run(args: Namespace) -> int:
    """Inpaint with a progress bar; a few lines when it is done."""
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.inpainting.command import inpaint

    report = inpaint(
        args.config_file,
        args.opts,
        method=args.method,
        weights=args.weights,
        datasets=args.dataset or (),
        output=args.output,
        scales=args.scales,
        mirror=not args.no_mirror,
        truth=args.truth,
        limit=args.limit,
    )
    print(report)
    return 0
