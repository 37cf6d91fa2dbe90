"""What a bending is built from."""
import torch
from dalf_training.data.bending import spectral_norm
from dalf_training.data.random_numbers import seeded


def test_spectral_norm() -> None:
    matrices = torch.randn(5, 7, 2, 2, generator=seeded("cpu", 1), dtype=torch.float64)
    matrices[0, 0] = torch.eye(2) * 3              # both singular values alike
    matrices[0, 1] = 0
    assert torch.allclose(spectral_norm(matrices), torch.linalg.matrix_norm(matrices, ord=2), rtol=1e-12, atol=0)
