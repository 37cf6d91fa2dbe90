"""Block products against NumPy's."""
import numpy as np
from numba import njit

from dalf_core.registration.simd import PADDED, add_outer, add_product


@njit
def outer(block, column, row, scale):
    add_outer(block, column, row, np.float32(scale))


@njit
def product(block, x, out):
    add_product(block, x, out)


def padded(rng, *shape):
    out = np.zeros((*shape, PADDED), np.float32)
    out[..., :6] = rng.normal(size=(*shape, 6))
    return out


def test_outer_product_is_added_to_its_block_alone():
    rng = np.random.default_rng(0)
    blocks, column, row = padded(rng, 3, 6), padded(rng), padded(rng)
    expected = blocks.copy()
    expected[1] += 0.3 * np.outer(column[:6], row)
    outer(blocks[1], column, row, 0.3)
    np.testing.assert_allclose(blocks, expected, rtol=1e-6, atol=1e-6)
    assert (blocks[:, :, 6:] == 0).all()


def test_product_is_added_to_its_row_alone():
    rng = np.random.default_rng(1)
    blocks, x, out = padded(rng, 3, 6), padded(rng, 4), padded(rng, 5)
    expected = out.copy()
    expected[4] += blocks[2].T @ x[3, :6]
    product(blocks[2], x[3], out[4])
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_no_operation_may_take_it_that_nothing_is_nan():
    outer(*(np.zeros(shape, np.float32) for shape in ((6, 8), 8, 8)), 0.3)
    product(*(np.zeros(shape, np.float32) for shape in ((6, 8), 8, 8)))
    for code in [*outer.inspect_llvm().values(), *product.inspect_llvm().values()]:
        products = [line.split() for line in code.splitlines() if "fmul" in line and "<8 x float>" in line]
        assert products and not any(flag in words for words in products for flag in ("fast", "nnan", "ninf"))
