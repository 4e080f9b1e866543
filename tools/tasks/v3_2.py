"""v3.2: the same as one product of matrices."""

import torch


def averaging(T):
    """Return the matrix (T, T) of which averaging(T) @ x is the mean of the past, row by row."""
    tril = torch.tril(torch.ones(T, T))
    return tril / tril.sum(dim=1, keepdim=True)
