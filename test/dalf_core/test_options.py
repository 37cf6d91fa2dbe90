"""The options that nodes and commands share."""
from __future__ import annotations

import argparse

import pytest

from dalf_core import options
from dalf_core.options import Option, add_options

ALL = [value for value in vars(options).values() if isinstance(value, Option)]


@pytest.mark.parametrize("option", ALL, ids=lambda option: option.name)
def test_defaults_are_allowed(option: Option) -> None:
    assert option.problem(option.default) is None and option.description


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser, *ALL)
    return parser.parse_args(words)


def test_a_command_line_has_the_declared_defaults() -> None:
    assert vars(parsed()) == {option.name: option.default for option in ALL}


def test_values_have_the_type_of_the_default() -> None:
    given = parsed("--image-scale", "2", "--top-k", "100", "--pieces", "largest")
    assert (given.image_scale, given.top_k, given.pieces) == (2.0, 100, "largest")
    assert isinstance(given.image_scale, float) and isinstance(given.top_k, int)


@pytest.mark.parametrize(("flag", "value", "words"), [
    ("--top-k", "0", "top_k must be 16 to 16384, not 0"), ("--image-scale", "99", "0.1 to 8"), ("--image-scale", "nan", "0.1 to 8"),
    ("--pieces", "some", "all, largest"), ("--top-k", "many", "'many' is no whole number"), ("--min-depth", "-1", "0.001 to 100 m")])
def test_what_cannot_be_is_refused(flag: str, value: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentError, match=words):
        parsed(flag, value)


def test_at_which_frames_dalf_looks() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    options.add_features_every(parser)
    for words, every in (([], 1), (["--features-every", "7"], 7), (["--features-every", "auto"], options.AUTO)):
        assert parser.parse_args(words).features_every == every
    for wrong in ("0", "-1", "2.5", "often", ""):
        with pytest.raises(argparse.ArgumentError, match="a number of frames from 1, or auto"):
            parser.parse_args([f"--features-every={wrong}"])


def test_help_says_defaults_and_units() -> None:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_options(parser, options.DEPTH_NOISE)
    assert "0.0002; m (default: 0.004)" in " ".join(parser.format_help().split())
