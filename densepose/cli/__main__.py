"""``densepose VERB ...`` and ``python -m densepose.cli VERB ...``.

Exit status: 0 done, 1 a mistake in the input that is told in one message, 2 a wrong command line,
130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import densepose
from densepose.cli import VERBS
from densepose.engine.logs import quiet_libraries
from densepose.files import did_you_mean

from .parser import USAGE, VerbParser

DONE, MISTAKE, INTERRUPTED = 0, 1, 130
# What the library raises when a file, a value or a config of the user is at fault.
USER_ERRORS = (ValueError, KeyError, OSError)
# Missing ones are the environment's fault, not the program's.
NEEDED_PACKAGES = ("torch", "torchvision", "detectron2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``densepose`` with these words of the command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = words[:1] == ["--debug"]
    words = words[debug:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return DONE if words else USAGE
    if words[0] == "--version":
        print(f"densepose {densepose.__version__}")
        return DONE
    if words[0] not in VERBS:
        hint = did_you_mean(words[0], VERBS)
        print(f"densepose: there is no {words[0]!r}{hint}; see densepose --help", file=sys.stderr)
        return USAGE
    return run_verb(words[0], words[1:], debug=debug)


def run_verb(verb: str, words: Sequence[str], *, debug: bool = False) -> int:
    """Parse the words after the verb and run it; user errors become one message."""
    quiet_libraries()
    try:
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
    except USER_ERRORS as error:
        return mistake(verb, message_of(error), debug=debug)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in NEEDED_PACKAGES:
            raise
        advice = "densepose doctor tells how to get it"
        return mistake(verb, f"{package} is not installed; {advice}", debug=debug)


def mistake(verb: str, message: str, *, debug: bool) -> int:
    """Tell what is wrong, with ``debug`` after the traceback of the current exception."""
    if debug:
        traceback.print_exc()
    print(f"densepose {verb}: {message}", file=sys.stderr)
    return MISTAKE


def load_verb(verb: str) -> ModuleType:
    """Import the module of a verb."""
    return importlib.import_module(f"densepose.cli.{VERBS[verb]}")


def overview() -> str:
    """What ``densepose --help`` prints."""
    lines = [f"  densepose {verb:<11} {load_verb(verb).HELP}" for verb in VERBS]
    return "\n".join(
        [
            "Dense human pose estimation: data, training, evaluation.",
            "",
            *lines,
            "",
            "densepose VERB --help   options and examples of one of them",
            "densepose --version",
            "densepose --debug VERB  with the traceback of an error",
        ]
    )


def message_of(error: BaseException) -> str:
    """The words of an error; with its kind where they alone would not be understood."""
    arguments: tuple[Any, ...] = error.args
    text = str(arguments[0]) if isinstance(error, KeyError) and arguments else str(error)
    if " " in text.strip():
        return text.strip()
    return f"{type(error).__name__} {text!r} (with --debug: where it came from)"


if __name__ == "__main__":
    sys.exit(main())
