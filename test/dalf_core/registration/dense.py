"""The normal equations written out, for comparison."""
import numpy as np


def dense_matrix(equations, graph):
    """(6K, 6K) float64"""
    count = len(graph)
    full = np.zeros((count, 6, count, 6))
    for i in range(count):
        full[i, :, i] = equations.diagonal[i, :, :6].T
    for e, (i, j) in enumerate(graph.edges):
        full[i, :, j] = equations.coupling[e, :, :6].T
    return full.reshape(6 * count, 6 * count)
