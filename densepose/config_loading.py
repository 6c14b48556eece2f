"""Read YAML files and ``KEY VALUE`` pairs; errors name the file, the key and the nearest keys."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from fvcore.common.config import BASE_KEY

from detectron2.config import CfgNode


def load_config_files(cfg: CfgNode, path: str | None, opts: list[str]) -> None:
    """Merge a YAML file with its bases, then the pairs of ``opts``, into ``cfg`` in place.

    Raises:
        FileNotFoundError: the file or one of its bases is missing.
        KeyError: a key does not exist in ``cfg``.
        ValueError: a file is not a YAML mapping, a value has the wrong type, ``opts`` is not made
            of pairs.
    """
    if path:
        files = list(_files_of(path))
        for name, content in files:
            _refuse_unknown_keys(cfg, content, name)
        try:
            cfg.merge_from_file(path, allow_unsafe=False)
        except ValueError as error:
            raise ValueError(
                f"{' or its base '.join(name for name, _ in files)}: {error}"
            ) from error
    _merge_pairs(cfg, opts)


def nearest_keys(cfg: CfgNode, key: str) -> list[str]:
    """Up to three existing keys that a misspelt or misplaced ``key`` may mean, best first."""
    known = list(_leaves(cfg))
    last = key.rsplit(".", 1)[-1]
    misplaced = [name for name in known if name.rsplit(".", 1)[-1] == last]
    similar = difflib.get_close_matches(key, known, n=3, cutoff=0.75)
    by_last = {name.rsplit(".", 1)[-1]: name for name in known}
    similar_last = [
        by_last[name] for name in difflib.get_close_matches(last, by_last, n=2, cutoff=0.85)
    ]
    return list(dict.fromkeys([*similar[:1], *misplaced, *similar, *similar_last]))[:3]


def _files_of(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A YAML file and its bases, the file first."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"config file {path!r} does not exist (working folder: {os.getcwd()!r})"
        )
    with open(path, encoding="utf-8") as file:
        try:
            content = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not readable as plain YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of config keys, got {type(content).__name__}")
    bases = content.pop(BASE_KEY, [])
    yield path, content
    for base in [bases] if isinstance(bases, str) else bases:
        base = os.path.expanduser(base)
        try:
            yield from _files_of(os.path.join(os.path.dirname(path), base))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path}: {BASE_KEY}: {error}") from error


def _refuse_unknown_keys(cfg: CfgNode, content: Mapping[str, Any], source: str) -> None:
    for key in _leaves(content):
        node: Any = cfg
        for part in key.split("."):
            if isinstance(node, CfgNode) and node.is_new_allowed():
                break
            if not isinstance(node, CfgNode) or part not in node:
                if not (cfg.key_is_deprecated(key) or cfg.key_is_renamed(key)):
                    raise KeyError(_unknown_key_message(cfg, key, source))
                break
            node = node[part]


def _unknown_key_message(cfg: CfgNode, key: str, source: str) -> str:
    nearest = nearest_keys(cfg, key)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
    return f"{source}: {key} is not a config key{hint}"


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of all values of nested mappings; an empty mapping counts as a value."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        else:
            yield name


def _merge_pairs(cfg: CfgNode, opts: list[str]) -> None:
    if len(opts) % 2:
        raise ValueError(
            f"options on the command line come as KEY VALUE pairs, got {len(opts)} words: {opts}"
        )
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        _refuse_unknown_keys(cfg, {key: value}, "command line")
        try:
            cfg.merge_from_list([key, value])
        except ValueError as error:
            raise ValueError(f"command line: {key} {value}: {error}") from error
