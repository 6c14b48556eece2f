"""Makes the environment that ``make demo`` and ``make test`` run in, by means of Python alone.

Safe to run again at any time: when nothing changed it returns at once, after an interruption it
resumes where it stopped. Versions come from requirements/pins.txt, detectron2 is checked against
its hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
PINS = ("-c", str(REQUIREMENTS / "pins.txt"))
OLDEST, NEWEST = (3, 10), (3, 13)
DISK_NEEDED_GB = 8.0  # 6.1 in the environment on Linux, the rest is pip's scratch space
STAMP = "densepose-setup.json"
# A change of one of these means that the environment has to be looked at again.
INPUTS = ("requirements/*.txt", "setup.py", "pyproject.toml", "tools/setup_env.py")
# pip's line about a wheel of a megabyte or more: name, version, size.
LARGE_DOWNLOAD = re.compile(r"Downloading (\w+)-([^-]+)-\S+ \(([\d.]+ [MG]B)\)")


class SetupError(Exception):
    """Something the person at the keyboard can fix; shown without a traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up the environment; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make the environment of make demo and make test.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder to put it in")
    parser.add_argument("--bake", action="store_true", help="also what baking the body needs")
    args = parser.parse_args(arguments)
    try:
        set_up(args.venv.expanduser().absolute(), bake=args.bake)
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nset-up: interrupted; the same command resumes", file=sys.stderr)
        return 130
    return 0


def set_up(venv: Path, *, bake: bool) -> None:
    """Bring ``venv`` to the state that the requirement files describe.

    Raises:
        SetupError: unsupported Python, a folder that is no environment, too little disk, or pip
            failed.
    """
    check_python(sys.version_info[:2])
    digest, done = input_digest(), read_stamp(venv)
    bake = bake or bool(done.get("bake"))
    if done == {"digest": digest, "bake": bake} and python_of(venv).exists():
        return
    started = time.monotonic()
    make_venv(venv)
    remove_unfinished(site_packages(venv))
    pip_install(venv, "build tools", ["setuptools", *PINS])
    # On its own, because it is nine tenths of the download: an interruption later does not cost it.
    pip_install(venv, "torch (a large download on Linux)", ["torch", "torchvision", *PINS])
    files = ["run.txt", "dev.txt"] + (["bake.txt"] if bake else [])
    listed = [word for name in files for word in ("-r", str(REQUIREMENTS / name))]
    # The few packages that come as source are pure Python and need nothing but the build tools.
    pip_install(venv, "the other packages", ["--no-build-isolation", *listed, *PINS])
    install_detectron2(venv)
    pip_install(venv, "densepose", ["--no-build-isolation", "--no-deps", "-e", str(ROOT)])
    write_stamp(venv, {"digest": digest, "bake": bake})
    say(f"done, {venv} is ready after {time.monotonic() - started:.0f} s")


def check_python(version: tuple[int, int]) -> None:
    """Refuse a Python that the pinned packages do not support."""
    if not OLDEST <= version <= NEWEST:
        raise SetupError(
            f"Python {version[0]}.{version[1]} is not supported, the pinned packages exist for 3.10"
            " to 3.13; choose one of these, for example: make test PYTHON=python3.11"
        )


def input_digest() -> str:
    """Hash of what decides the result: requirement files, interpreter, place of the checkout."""
    digest = hashlib.sha256(repr((sys.version, platform.machine(), str(ROOT))).encode())
    for pattern in INPUTS:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def read_stamp(venv: Path) -> dict[str, object]:
    """What the last finished set-up wrote; empty if there was none."""
    try:
        stamp = json.loads((venv / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv: Path, content: dict[str, object]) -> None:
    """Record a finished set-up, all at once or not at all."""
    partial = venv / (STAMP + ".part")
    partial.write_text(json.dumps(content))
    os.replace(partial, venv / STAMP)


def python_of(venv: Path) -> Path:
    """Interpreter inside the environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ask_python(venv: Path, code: str) -> str:
    """What the environment's interpreter prints for ``code``; empty if it does not run."""
    command = [str(python_of(venv)), "-c", code]
    return subprocess.run(command, cwd=venv, capture_output=True, text=True).stdout.strip()


def site_packages(venv: Path) -> Path:
    """Folder that the environment's packages are in."""
    return Path(ask_python(venv, "import sysconfig; print(sysconfig.get_path('purelib'))"))


def make_venv(venv: Path) -> None:
    """Create the environment, or check that the existing one can be used."""
    if (venv / "pyvenv.cfg").exists() and python_of(venv).exists():
        check_same_python(venv)
        return
    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise SetupError(
            f"{venv} is not empty and not a virtual environment; choose another folder: make test"
            " VENV=FOLDER (for other kinds of environment see docs/installing.md)"
        )
    venv.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(venv).free / 1e9
    if free_gb < DISK_NEEDED_GB:
        raise SetupError(
            f"{venv} is on a disk with {free_gb:.1f} GB free, the environment needs"
            f" {DISK_NEEDED_GB:.0f} GB; choose another place: make test VENV=FOLDER"
        )
    say(f"making {venv} with Python {platform.python_version()}")
    command = [sys.executable, "-m", "venv", "--clear", str(venv)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment (on Debian and Ubuntu the package"
            f" python3-venv is missing): {(result.stderr or result.stdout).strip()}"
        )


def check_same_python(venv: Path) -> None:
    """An environment of one minor version of Python cannot be continued with another."""
    theirs = ask_python(venv, "import sys; print(*sys.version_info[:2], sep='.')")
    ours = ".".join(platform.python_version_tuple()[:2])
    if theirs != ours:
        raise SetupError(
            f"{venv} was made with Python {theirs or 'that no longer runs'}, this is {ours}; remove"
            f" it, or choose another folder: make test VENV=FOLDER"
        )


def remove_unfinished(site: Path) -> None:
    """Forget packages whose installation was interrupted, so that pip installs them again.

    pip writes INSTALLER after the other files of a package; without it the package is not whole.
    """
    for folder in site.glob("*.dist-info"):
        if not (folder / "INSTALLER").exists():
            say(f"{folder.name} was left unfinished and is installed again")
            shutil.rmtree(folder)
    for folder in site.glob("~*"):  # pip's name for what it was about to replace
        shutil.rmtree(folder, ignore_errors=True)


def install_detectron2(venv: Path) -> None:
    """Install the pinned detectron2, unless the environment already has one.

    The wheel also carries a top-level package ``tools``, which would hide other folders of that
    name; so it is unpacked aside and only detectron2 is moved to its place.
    """
    found = (
        "import importlib.util as u; s = u.find_spec('detectron2'); print(s.origin if s else '')"
    )
    if origin := ask_python(venv, found):
        say(f"detectron2 is there already and left as it is ({origin})")
        return
    site = site_packages(venv)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=venv) as aside:
        options = ["--no-deps", "--only-binary=:all:", "--python-version", "310", "--no-compile"]
        options += ["--require-hashes", "-r", str(REQUIREMENTS / "detectron2.txt")]
        pip_install(venv, "detectron2", [*options, "--target", aside])
        # The package comes last: it is what the next run looks for after an interruption.
        for folder in [*Path(aside).glob("*.dist-info"), Path(aside) / "detectron2"]:
            shutil.rmtree(site / folder.name, ignore_errors=True)
            os.replace(folder, site / folder.name)


def pip_install(venv: Path, what: str, arguments: Sequence[str]) -> None:
    """Run ``pip install``: on a terminal with pip's own bars, elsewhere with a line a download."""
    say(f"installing {what}")
    command = [str(python_of(venv)), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-input", *arguments]
    if sys.stdout.isatty():
        status, reasons = subprocess.call(command), "the reason is above"
    else:
        status, reasons = run_told_shortly([*command, "--progress-bar", "off"])
    if status:
        raise SetupError(f"pip could not install {what}: {reasons} (the same command resumes)")


def run_told_shortly(command: Sequence[str]) -> tuple[int, str]:
    """Run pip, passing on only its progress; returns its status and last errors."""
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # a pipe was asked for
        for line in process.stdout:
            lines.append(line.strip())
            if large := LARGE_DOWNLOAD.match(lines[-1]):
                say("  downloading {} {} ({})".format(*large.groups()))
            elif lines[-1].startswith("Installing collected packages"):
                say(f"  unpacking {lines[-1].count(',') + 1} packages")
    return process.returncode, " ".join([s for s in lines if "error" in s.lower()][-3:])


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
