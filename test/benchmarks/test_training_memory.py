"""The benchmark of training's memory: what it counts."""
import torch
import training_memory


def test_peak_bytes() -> None:
    """8 and 4 MB live at once; what is freed before and what was there before do not count."""
    before = torch.ones(5_000_000)

    def work() -> torch.Tensor:
        first = torch.ones(2_500_000)
        del first
        second = torch.ones(2_000_000)
        third = before[:1_000_000] + 1
        return second[:1] + third[:1]

    assert 12e6 <= training_memory.peak_bytes(work) < 12.1e6
