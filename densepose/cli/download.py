"""``densepose download``: models, data sets and evaluation files by name."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "download models, data sets and evaluation files"
EXAMPLE = """\
what there is                densepose download --list
a released model             densepose download R_50_FPN_s1x
to score on DensePose-COCO   densepose download densepose_coco_2014_minival evaluation
compare hashes again         densepose download --verify
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add names and what to do with them."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="of --list; what is there is checked, not loaded")
    add("--list", action="store_true", help="list all names with size, sha256, licence and address")
    add("--verify", action="store_true", help="compare files with the hash they came with")
    add(
        "--data-dir",
        metavar="DIR",
        help="folder of all data sets [$DETECTRON2_DATASETS, else ./datasets]",
    )


def run(args: Namespace) -> int:
    """List, download or verify; returns the exit status."""
    from densepose.engine.logs import setup_logging

    setup_logging(None)
    from densepose.model_zoo import catalog

    if args.verify:
        return _verify(args)
    if args.list or not args.names:
        return _list(args)
    for name in args.names:
        catalog.get(name, args.data_dir)
    return 0


def _verify(args: Namespace) -> int:
    from densepose.model_zoo import catalog
    from densepose.model_zoo.files import verify

    count = 0
    for entry in catalog.entries(args.data_dir):
        for path in entry.files if not args.names or entry.name in args.names else ():
            if path.is_file():
                print(f"{entry.name}: {path}: unchanged, sha256 {verify(path, entry.name)}")
                count += 1
    print(f"{count} {'file' if count == 1 else 'files'} compared")
    return 0


def _list(args: Namespace) -> int:
    from densepose.model_zoo import catalog

    listed = list(catalog.entries(args.data_dir))
    width = max(len(entry.name) for entry in listed)
    for kind in dict.fromkeys(entry.kind for entry in listed):
        print(f"{kind}s".replace("filess", "files"))
        group = [entry for entry in listed if entry.kind == kind]
        for entry in group:
            size = f"{entry.size_bytes / 2**20:,.0f} MB" if entry.present else "-"
            print(f"  {entry.name:{width}}  {size:>9}  {entry.about}")
            for origin in entry.origins():
                print(f"  {'':{width}}  {'':9}  {origin}")
        for licence in dict.fromkeys(entry.licence for entry in group):
            names = [entry.name for entry in group if entry.licence == licence]
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            print(f"  licence of {shown}: {licence}")
        print()
    print("Sizes and sha256 are those of files on this machine, - is not here.")
    print("ImageNet weights: R-50, R-101.")
    return 0
