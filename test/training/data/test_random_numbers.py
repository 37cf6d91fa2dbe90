"""Draws: shares of a batch are rows of the whole, keys are independent."""
import pytest
import torch
from dalf_training.data.random_numbers import Share, normal, seeded, uniform


def test_shares_are_rows_of_the_whole() -> None:
    whole = uniform(Share(seeded("cpu", 1), 6, 0, 6), -1, 3, 6, 4)
    parts = [uniform(Share(seeded("cpu", 1), 6, start, start + 2), -1, 3, 2, 4) for start in (0, 2, 4)]
    assert torch.equal(torch.cat(parts), whole)
    assert -1 <= whole.min() and whole.max() <= 3
    assert torch.equal(whole, uniform(seeded("cpu", 1), -1, 3, 6, 4))


def test_later_draws_of_shares_agree_too() -> None:
    def second(share: Share) -> torch.Tensor:
        uniform(share, 0, 1, len(share), 3)
        return normal(share, len(share), 5)

    whole = second(Share(seeded("cpu", 2), 4, 0, 4))
    assert torch.equal(second(Share(seeded("cpu", 2), 4, 3, 4)), whole[3:])


def test_bad_shares() -> None:
    with pytest.raises(ValueError, match="no part"):
        Share(seeded("cpu", 1), 4, 2, 5)
    with pytest.raises(ValueError, match="rows"):
        uniform(Share(seeded("cpu", 1), 4, 0, 2), 0, 1, 3)


def test_every_number_of_a_key_counts() -> None:
    firsts = {float(torch.rand(1, generator=seeded("cpu", *key))) for key in ((1, 2, 3), (1, 3, 2), (2, 2, 3), (1, 2, 4), (0, 2, 3))}
    assert len(firsts) == 5
    assert seeded("cpu", 5, 6).initial_seed() == seeded("cpu", 5, 6).initial_seed()
