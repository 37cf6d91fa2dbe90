"""The offline trainer and the evaluation of DALF (installed as dalf_training). docs/training.md is its page.

warps, rendering, appearance, pairs: random non-rigid image pairs with exact ground truth. photos: which photos are kept for evaluation.
"""
