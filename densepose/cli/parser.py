"""The parser of one verb: options, words and config ``KEY VALUE`` pairs in any order."""

from __future__ import annotations

import re
import sys
from argparse import (
    SUPPRESS,
    Action,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from densepose.errors import USAGE

_LIKE_A_KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.\w+)*")


class _HelpFormatter(RawDescriptionHelpFormatter):
    """Shows defaults in brackets."""

    def _get_help_string(self, action: Action) -> str | None:
        value = action.default
        if not action.help or not action.option_strings or value in (None, "", False, SUPPRESS):
            return action.help
        shown = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else f"{value}"
        return f"{action.help} [{shown.replace('%', '%%')}]" if shown else action.help


class VerbParser(ArgumentParser):
    """Shows an example in its help, answers a misspelt option or key with the nearest one."""

    def __init__(self, verb: str, module: ModuleType) -> None:
        super().__init__(
            prog=f"densepose {verb}",
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog="examples:\n" + "".join(f"  {s}\n" for s in module.EXAMPLE.splitlines()),
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument(
            "--debug", action="store_true", help="show the traceback of an error as well"
        )
        module.add_arguments(self)
        self.takes_pairs = self.get_default("opts") is not None
        if self.takes_pairs:
            self.usage = f"{self.format_usage().removeprefix('usage: ').rstrip()} [KEY VALUE ...]"

    def parse_args(self, args: Sequence[str], namespace: Namespace | None = None) -> Namespace:  # type: ignore[override]  # always given here
        """As argparse does; ``opts`` of the result are the config pairs.

        A wrong command line ends the program with status 2 and a hint.
        """
        words, pairs = self._without_pairs(args) if self.takes_pairs else (list(args), [])
        parsed, unknown = self.parse_known_intermixed_args(words, namespace)
        if unknown:
            self.error(f"unknown {' '.join(unknown)}{self._hint(unknown)}")
        if self.takes_pairs:
            parsed.opts = pairs
        return parsed

    def error(self, message: str) -> NoReturn:
        """One line and where to look, instead of the whole usage."""
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")

    def _without_pairs(self, args: Sequence[str]) -> tuple[list[str], list[str]]:
        """Words of the command line -> those that are no config pairs, and the pairs."""
        if not any(_LIKE_A_KEY.fullmatch(word) for word in args):
            return list(args), []
        # Not at the top: it needs torch and detectron2, which `--help` should not wait for.
        from densepose.config import get_densepose_cfg, is_meant_as_key, unknown_key

        cfg = get_densepose_cfg()
        others: list[str] = []
        pairs: list[str] = []
        words = list(args)
        while words:
            word = words.pop(0)
            if not is_meant_as_key(cfg, word):
                others.append(word)
                continue
            if not words or words[0].startswith("--") or is_meant_as_key(cfg, words[0]):
                self.error(f"{word} has no value; config keys come as KEY VALUE pairs")
            if complaint := unknown_key(cfg, word):
                self.error(complaint)
            pairs += [word, words.pop(0)]
        return others, pairs

    def _hint(self, unknown: Sequence[str]) -> str:
        """``, did you mean ...?`` for the first word that is like an option or a config key."""
        # Not at the top: it needs packages that may be missing where the doctor is asked.
        from densepose.files import did_you_mean

        for word in unknown:
            near = did_you_mean(word, self._option_string_actions)
            if not near and self.takes_pairs and not word.startswith("-"):
                from densepose.config import get_densepose_cfg, nearest_keys

                keys = nearest_keys(get_densepose_cfg(), word.upper())
                near = f", did you mean {keys[0]!r}?" if keys else ""
            if near:
                return near
        return ""


def add_config_pairs(
    parser: ArgumentParser, text: str = "config keys that replace those of the file"
) -> None:
    """Let a verb take ``KEY VALUE`` pairs anywhere between its other words, as ``opts``."""
    parser.add_argument_group("KEY VALUE ...", text)
    parser.set_defaults(opts=[])


# One name for one thing in all commands. Where a config key means the same, the option sets it.
KEYS = {
    "weights": "MODEL.WEIGHTS",
    "device": "MODEL.DEVICE",
    "batch_size": "SOLVER.IMS_PER_BATCH",
    "output": "OUTPUT_DIR",
}


def add_output(parser: ArgumentParser, text: str, *, metavar: str = "DIR", **options: Any) -> None:
    """Add ``--output``, ``-o`` and its former name ``--out``."""
    parser.add_argument("--output", "-o", metavar=metavar, help=text, **options)
    renamed(parser, "--out", "--output", dest="output", type=options.get("type"))


def add_model(parser: ArgumentParser, weights: str = "file, or name of a released model") -> None:
    """Add which model, and where it runs."""
    add = parser.add_argument
    add("--config-file", default="", metavar="FILE", help="YAML file, or name of a shipped config")
    add("--weights", default="", metavar="FILE", help=weights)
    add("--device", default="", metavar="D", help="cpu, cuda or cuda:1; a GPU if there is one")


def pairs_of(args: Namespace) -> list[str]:
    """The config pairs of the options of ``KEYS`` that were given, then those of ``opts``."""
    given = {key: getattr(args, name, None) for name, key in KEYS.items()}
    words = [word for key, value in given.items() if value for word in (key, str(value))]
    return [*words, *args.opts]


def renamed(
    parser: ArgumentParser, old: str, new: str, *, dest: str, type: Any = None, const: Any = None
) -> None:
    """Accept the former name of an option for one release, with a note of one line.

    With ``const`` the old option took no value and sets ``dest`` to it.
    """

    class Renamed(Action):
        def __call__(self, _: Any, args: Namespace, values: Any, option: str | None = None) -> None:
            print(f"note: {old} is now {new}", file=sys.stderr)
            setattr(args, dest, values if const is None else const)

    parser.add_argument(
        old,
        dest=dest,
        action=Renamed,
        nargs=None if const is None else 0,
        type=type,
        default=SUPPRESS,
        help=SUPPRESS,
    )


def fraction(text: str) -> float:
    """A number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return value


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
