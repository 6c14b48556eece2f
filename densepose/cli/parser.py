"""The parser of one verb: options, words and config ``KEY VALUE`` pairs in any order."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from densepose.files import did_you_mean

USAGE = 2
_LIKE_A_KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.\w+)*")


class VerbParser(ArgumentParser):
    """Shows an example in its help, answers a misspelt option or key with the nearest one."""

    def __init__(self, verb: str, module: ModuleType) -> None:
        super().__init__(
            prog=f"densepose {verb}",
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog="examples:\n" + "".join(f"  {s}\n" for s in module.EXAMPLE.splitlines()),
            formatter_class=RawDescriptionHelpFormatter,
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
