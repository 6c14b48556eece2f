"""Options and config KEY VALUE pairs stand in any order, in every command that takes pairs."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from densepose.cli import VERBS
from densepose.cli.__main__ import load_verb, run_verb
from densepose.cli.parser import VerbParser
from tests.support.training import train_net

# Of each command that takes pairs: its other words, and what they mean.
COMMANDS = {
    "train": (["--config-file", "F", "--num-gpus", "2", "--resume"], {"num_gpus": 2}),
    "evaluate": (["--config-file", "F", "--resume"], {"config_file": "F"}),
    "predict": (["a.jpg", "--output", "found", "b.jpg"], {"inputs": ["a.jpg", "b.jpg"]}),
    "inpaint": (["--limit", "3", "--no-mirror"], {"limit": 3}),
    "annotate": (["photos", "--output", "a.json"], {"images": Path("photos")}),
    "convert": (["zoo://x", "y.pth", "--half"], {"source": "zoo://x", "target": "y.pth"}),
}
PAIRS = ["OUTPUT_DIR", "x", "SEED", "-1", "SOLVER.BASE_LR", "-1e-3"]


def parse(verb: str, words: list[str]):
    return VerbParser(verb, load_verb(verb)).parse_args(words)


def test_all_commands_with_pairs_are_tested():
    takers = {verb for verb in VERBS if VerbParser(verb, load_verb(verb)).takes_pairs}
    assert takers == set(COMMANDS)


@pytest.mark.parametrize("verb", COMMANDS)
def test_pairs_and_options_in_any_order(verb: str):
    words, meaning = COMMANDS[verb]
    blocks = [[PAIRS[i : i + 2] for i in (0, 2, 4)], [words]]
    pieces = [piece for block in blocks for piece in block]
    for order in itertools.permutations(pieces):
        parsed = vars(parse(verb, sum(order, [])))
        pairs = zip(parsed["opts"][::2], parsed["opts"][1::2], strict=True)
        assert dict(pairs) == dict(zip(PAIRS[::2], PAIRS[1::2], strict=True))
        assert meaning.items() <= parsed.items()


def test_pairs_between_an_option_and_the_next():
    words = "--config-file F SOLVER.MAX_ITER 10 --num-gpus 2 OUTPUT_DIR x --eval-only"
    parsed = parse("train", words.split())
    assert parsed.opts == ["SOLVER.MAX_ITER", "10", "OUTPUT_DIR", "x"]
    assert (parsed.num_gpus, parsed.eval_only) == (2, True)


def test_the_order_of_pairs_is_kept_the_last_one_counts():
    assert parse("train", "SEED 1 --resume SEED 2".split()).opts == ["SEED", "1", "SEED", "2"]


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["SOLVER.MAX_ITERS", "10"], "did you mean SOLVER.MAX_ITER"),
        (["SEED"], "SEED has no value; config keys come as KEY VALUE pairs"),
        (["SEED", "--debug"], "SEED has no value"),
        (["OUTPUT_DIR", "SEED", "1"], "OUTPUT_DIR has no value"),
        (["--debgu"], "unknown --debgu, did you mean '--debug'?"),
    ],
)
def test_mistakes_are_answered_with_a_hint(capsys, verb: str, extra: list[str], message: str):
    with pytest.raises(SystemExit) as stopped:
        run_verb(verb, [*COMMANDS[verb][0], *extra])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["SOLVR.MAX_ITER", "10"], "unknown SOLVR.MAX_ITER 10, did you mean 'SOLVER.MAX_ITER'?"),
        (["solver.max_iter", "10"], "did you mean 'SOLVER.MAX_ITER'?"),
        (["SOLVER.STEPS", "1,", "2"], "unknown 2;"),
    ],
)
def test_words_that_are_no_pairs(capsys, words: list[str], message: str):
    with pytest.raises(SystemExit):
        run_verb("train", ["--resume", *words])
    assert message in capsys.readouterr().err


def test_photos_with_names_like_keys_are_photos():
    words = ["IMG_1.JPG", "MODEL", "--output", "o", "MODEL.DEVICE", "cpu", "SEED", "1"]
    parsed = parse("predict", words)
    assert parsed.inputs == ["IMG_1.JPG", "MODEL"]
    assert parsed.opts == ["MODEL.DEVICE", "cpu", "SEED", "1"]


def test_help_shows_that_pairs_are_taken():
    text = VerbParser("train", load_verb("train")).format_help()
    assert "[KEY VALUE ...]" in text.split("\n\n")[0]
    assert "[KEY VALUE ...]" not in VerbParser("doctor", load_verb("doctor")).format_help()


def test_train_net_takes_options_behind_pairs(tmp_path, monkeypatch, capsys):
    assert train_net(monkeypatch, "OUTPUT_DIR", str(tmp_path), "--eval-only") == 1
    assert "DATASETS.TEST is empty: name a data set to evaluate on" in capsys.readouterr().err
