"""``densepose COMMAND ...`` and ``python -m densepose.cli COMMAND ...``.

Exit status: 0 done, 1 a mistake in the input that is reported in one message, 2 a wrong command
line, 3 some of the files failed (predict), 70 a fault of the program,
130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

import densepose
from densepose.cli import VERBS
from densepose.errors import (
    DONE,
    FAULT,
    FAULT_NOTICE,
    INTERRUPTED,
    MISTAKE,
    USAGE,
    mistake_text,
)

from .parser import VerbParser

# Former names, understood for one release, and the words that stand for them now.
RENAMED = {
    ("fetch",): ["download"],
    ("prepare-evaluation", "--list"): ["download", "--list"],
    ("prepare-evaluation", "--export-template"): ["build-surface", "template", "--output"],
    ("prepare-evaluation",): ["download", "evaluation"],
}
_SCORED = ("--predictions", "--annotations", "--gt")
_DEMO = "the demo is now `make demo`, or the commands of tools/demo.sh"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``densepose`` with these words of the command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = words[:1] == ["--debug"]
    words = with_new_names(words[debug:])
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return DONE if words else USAGE
    if words[0] == "--version":
        print(f"densepose {densepose.__version__}")
        return DONE
    if words[0] not in VERBS:
        from densepose.files import did_you_mean

        hint = _DEMO if words[0] == "demo" else did_you_mean(words[0], VERBS).removeprefix(", ")
        text = "; ".join(filter(None, [f"there is no {words[0]!r}", hint, "see densepose --help"]))
        print(f"densepose: {text}", file=sys.stderr)
        return USAGE
    return run_verb(words[0], words[1:], debug=debug)


def with_new_names(words: list[str]) -> list[str]:
    """The words with a former command replaced, and a note about it."""
    for old, new in RENAMED.items():
        if tuple(words[: len(old)]) == old:
            print(f"note: densepose {' '.join(old)} is now densepose {new[0]}", file=sys.stderr)
            return [*new, *words[len(old) :]]
    if words[:1] == ["evaluate"] and any(word.split("=")[0] in _SCORED for word in words):
        return ["score", *words[1:]]  # which reports the new form
    return words


def run_verb(verb: str, words: Sequence[str], *, debug: bool = False) -> int:
    """Parse the words after the command and run it; mistakes become one line."""
    try:
        if verb != "doctor":  # which has to answer whatever is missing
            from densepose.engine.logs import quiet_libraries

            # Before they are imported, here and in processes started from here.
            quiet_libraries()
        module = load_verb(verb)
        args = VerbParser(verb, module).parse_args(words)
        debug = debug or args.debug
        return int(module.run(args))
    except KeyboardInterrupt:
        print(f"densepose {verb}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` for example, has seen enough; nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        text = _missing_package(error) or mistake_text(error)
        if text is None or debug:
            traceback.print_exc()
        print(f"densepose {verb}: {text or FAULT_NOTICE}", file=sys.stderr)
        return FAULT if text is None else MISTAKE


def _missing_package(error: Exception) -> str:
    """What to say when a package of somebody else is not installed; else empty."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    package = (name or "densepose").split(".")[0]
    advice = "`densepose doctor` lists what is missing"
    return "" if package == "densepose" else f"the package {package} is not installed; {advice}"


def load_verb(verb: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"densepose.cli.{VERBS[verb]}")


def overview() -> str:
    """What ``densepose --help`` prints."""
    width = max(map(len, VERBS))
    lines = [f"  densepose {verb:{width}}  {load_verb(verb).HELP}" for verb in VERBS]
    return "\n".join(
        [
            "Dense human pose estimation: photos to body surface, data, training, evaluation.",
            "",
            *lines,
            "",
            "densepose COMMAND --help   options and examples of one of them",
            "densepose --version",
            "densepose --debug COMMAND  with the traceback of an error",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
