"""``densepose prepare-evaluation``: check and convert the official evaluation files."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from densepose.surface.official.prepare import OfficialFile, Prepared

HELP = "check and convert the official evaluation files, or export the synthetic body as such"
EXAMPLE = """\
densepose prepare-evaluation --list                      # what there is, where, which licence
densepose prepare-evaluation datasets/densepose_smpl     # check what is there, convert it once
densepose prepare-evaluation --export-template exported  # for other evaluators"""
FOLDER = "densepose_smpl"


def add_arguments(parser: ArgumentParser) -> None:
    """The folder, and what to do instead of checking it."""
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help=f"folder of the files (default: {FOLDER} below $DETECTRON2_DATASETS or ./datasets)",
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--list", action="store_true", help="say what each file is for, its source and its licence"
    )
    other.add_argument(
        "--export-template",
        metavar="DIR",
        help="write the project's own body in the form of all these files",
    )


def run(args: Namespace) -> int:
    """1 if a file that is there cannot be used, or none is there."""
    from rich.console import Console

    root = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()
    folder = Path(args.folder) if args.folder else root / FOLDER
    console = Console(highlight=False, soft_wrap=True)
    if args.list:
        return _list(folder, console)
    if args.export_template:
        return _export(Path(args.export_template), console)
    return _prepare(folder, console)


def _list(folder: Path, console: Console) -> int:
    """All files with what they are for, their licences, and the commands that fetch them."""
    from densepose.surface.official.prepare import fetch_commands, official_files

    files = official_files()
    width = max(len(file.path) for file in files)
    for file in files:
        here = "here   " if (folder / file.path).is_file() else "not yet"
        console.print(f"{here}  {file.path:{width}}  {file.purpose}", markup=False)
    for licence in dict.fromkeys(file.licence for file in files):
        groups = dict.fromkeys(file.group for file in files if file.licence == licence)
        console.print(f"\nlicence of {', '.join(groups)}: {licence}", markup=False)
    console.print(f"\nCommands that fetch them into {folder} (nothing is fetched without you):")
    for command in fetch_commands(folder, files):
        console.print(f"  {command}", markup=False)
    return 0


def _export(target: Path, console: Console) -> int:
    from densepose.surface.official.export import export_template

    with console.status("exporting") as status:
        files = export_template(target, on_file=lambda name: status.update(f"writing {name}"))
    size = sum(path.stat().st_size for path in files)
    console.print(f"{target}: {len(files)} files, {size / 1e6:.0f} MB, of the synthetic body")
    return 0


def _prepare(folder: Path, console: Console) -> int:
    """Check every file that is there; one line for each, one at the end."""
    from densepose.progress import progress_bar
    from densepose.surface.official.prepare import (
        already_prepared,
        files_in,
        prepare_file,
    )

    done: dict[str, Prepared] = {}
    problems: list[str] = []
    for file in files_in(folder):
        if (earlier := already_prepared(folder, file)) is not None:
            done[file.path] = earlier
            console.print(_line(earlier, "as before"), markup=False)
            continue
        if not (folder / file.path).is_file():
            continue
        size = (folder / file.path).stat().st_size
        try:
            with progress_bar(file.path, size, in_bytes=True) as show:
                made = prepare_file(folder, file, on_progress=lambda n, show=show: show(more=n))
        except (ValueError, OSError) as error:
            problems.append(str(error))
            console.print(f"WRONG  {error}", markup=False)
        else:
            done[file.path] = made
            console.print(_line(made, "ok"), markup=False)
    return _conclude(folder, console, done, problems)


def _line(made: Prepared, state: str) -> str:
    note = f" ({made.note})" if made.note else ""
    return f"{state}: {made.path}: {made.holds}{note}; sha256 {made.sha256[:16]}"


def _conclude(
    folder: Path, console: Console, done: dict[str, Prepared], problems: list[str]
) -> int:
    from densepose.surface.official.prepare import official_files

    needed = [file for file in official_files() if file.group == "evaluation"]
    lacking: list[OfficialFile] = [file for file in needed if file.path not in done]
    if lacking:
        console.print("To evaluate on DensePose-COCO, these are still needed:")
        for file in lacking:
            console.print(f"  {file.command(folder)}    # {file.licence}", markup=False)
    state = "ready for evaluation" if not lacking else "not ready for evaluation"
    console.print(
        f"{folder}: {len(done)} files checked, {len(problems)} cannot be used; {state}",
        markup=False,
    )
    return 1 if problems or not done else 0
