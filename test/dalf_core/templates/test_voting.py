"""Votes of descriptors: against the formula by hand, and of lists against an exact search."""
import numpy as np
import pytest

from dalf_core.templates import voting
from dalf_core.templates.voting import NEIGHBOURS, DescriptorIndex


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def by_hand(templates: list[np.ndarray], queries: np.ndarray) -> np.ndarray:
    """The formula of Local NBNN, in loops."""
    total = np.zeros(len(templates))
    for query in queries.astype(float):
        squared = [((template - query) ** 2).sum(axis=1) for template in templates]
        background = np.sort(np.concatenate(squared))[NEIGHBOURS - 1]
        for number, distances in enumerate(squared):
            total[number] += max(0.0, background - distances.min())
    return total


@pytest.mark.parametrize("lists", [False, True])
def test_votes_are_those_of_the_formula(lists, monkeypatch):
    rng = np.random.default_rng(0)
    templates = [unit(rng, 60, 16) for _ in range(12)]
    queries = unit(rng, 40, 16)
    if lists:       # all of which are looked at
        monkeypatch.setattr(voting, "EXACT_BELOW", 100)
        monkeypatch.setattr(voting, "LISTS_LOOKED_AT", 10_000)
    index = DescriptorIndex(16)
    for number, descriptors in enumerate(templates):
        index.add(number, descriptors)
    np.testing.assert_allclose(index.votes(queries, 12), by_hand(templates, queries), rtol=1e-4, atol=1e-5)


def test_templates_that_come_later_are_found_too(monkeypatch):
    monkeypatch.setattr(voting, "EXACT_BELOW", 100)
    rng = np.random.default_rng(1)
    templates = [unit(rng, 80, 16) for _ in range(9)]
    index = DescriptorIndex(16)
    for number, descriptors in enumerate(templates):
        index.add(number, descriptors)
        noisy = descriptors + 0.05 * unit(rng, 80, 16)
        votes = index.votes(noisy, number + 1)
        assert number == 0 or votes.argmax() == number


def test_nothing_to_vote_with_or_for():
    index = DescriptorIndex(8)
    np.testing.assert_array_equal(index.votes(np.zeros((3, 8), np.float32), 2), [0, 0])
    index.add(0, np.eye(8, dtype=np.float32))
    np.testing.assert_array_equal(index.votes(np.zeros((0, 8), np.float32), 1), [0])
    with pytest.raises(ValueError, match="8 dimensions"):
        index.add(1, np.eye(5, dtype=np.float32))
