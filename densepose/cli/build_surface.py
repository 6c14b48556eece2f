"""``densepose build-surface``: charts, left and right, and distances for a mesh of one's own."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from densepose.errors import InputError

from .parser import add_output

HELP = "make charts, symmetry and distances for a mesh of your own"
EXAMPLE = """\
densepose build-surface dog.obj --output dog.npz
densepose build-surface body.ply --parts labels.txt --scale 0.01 --output body.npz
densepose build-surface smpl.obj --parts smpl_vert_segmentation.json --output smpl.npz
densepose build-surface template --output exported    # the package's, for other evaluators"""


def add_arguments(parser: ArgumentParser) -> None:
    """The mesh, how it is to be read, and where the results go."""
    add = parser.add_argument
    add(
        "mesh",
        type=Path,
        help="triangle mesh (.obj .ply .off .stl .glb .gltf); or template: the package's body, in"
        " the form of the official evaluation files",
    )
    add_output(
        parser,
        "file to write, of template a folder [the mesh's name, .npz]",
        metavar="NPZ",
        type=Path,
    )
    add(
        "--parts",
        type=Path,
        metavar="FILE",
        help="parts 1 to 24 for each triangle or vertex (.txt .npy .json), or names with lists of"
        " vertices (.json); default: parts are found",
    )
    add(
        "--labels-of",
        choices=("auto", "triangles", "vertices"),
        default="auto",
        help="what the numbers of --parts belong to",
    )
    add("--num-parts", type=int, default=24, metavar="N", help="how many to find")
    add("--scale", type=float, default=1.0, help="metres of one unit of the mesh")
    add("--merge", action="store_true", help="make one vertex of those at the same place")
    add("--up", choices="xyz", default="y", help="axis that points up in charts")
    add(
        "--mirror",
        choices=("x", "y", "z", "auto", "none"),
        default="auto",
        help="axis across which left and right lie; auto finds out",
    )
    add("--no-geodesics", action="store_true", help="do not compute the distances now")
    add("--picture", type=Path, metavar="PNG", help="default: beside the file, same name")


def run(args: Namespace) -> int:
    """Build, check, draw; warnings go to standard error."""
    from densepose.progress import progress_bar
    from densepose.surface.own.build import BuildOptions, build_own_surface
    from densepose.surface.own.surface_file import write_own_surface
    from densepose.vis.atlas_picture import draw_atlas

    if args.mesh == Path("template"):
        return _export(args.output or Path("exported"))
    out = args.output or Path(args.mesh.name).with_suffix(".npz")
    if out.suffix != ".npz":
        raise InputError(f"--output {out}: the file of a surface ends in .npz")
    options = BuildOptions(
        parts=args.parts,
        labels_of=args.labels_of,
        num_parts=args.num_parts,
        scale=args.scale,
        merge=args.merge,
        up=args.up,
        mirror=args.mirror,
    )
    with progress_bar("charts") as show:
        surface, found = build_own_surface(args.mesh, options, on_part=show)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    picture = args.picture or out.with_suffix(".png")
    for folder in {out.parent, picture.parent}:
        folder.mkdir(parents=True, exist_ok=True)
    draw_atlas(surface.atlas, picture, names=surface.part_names, up="xyz".index(args.up))
    write_own_surface(out, surface, geodesics=not args.no_geodesics)
    mesh, sides = surface.atlas.mesh, "with" if surface.symmetry else "without"
    print(
        f"{out}: {mesh.num_vertices} vertices, {len(set(surface.atlas.face_part.tolist()))} parts,"
        f" {sides} left and right, {out.stat().st_size / 1e6:.1f} MB; picture: {picture}"
    )
    return 0


def _export(folder: Path) -> int:
    from densepose.progress import progress_bar
    from densepose.surface.official.export import export_template

    with progress_bar("files") as show:
        files = export_template(folder, on_file=lambda name: show(more=1))
    size = sum(path.stat().st_size for path in files)
    print(f"{folder}: {len(files)} files, {size / 1e6:.0f} MB, of the synthetic body")
    return 0
