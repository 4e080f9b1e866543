"""v3.3: the same with softmax."""

import torch


def attention_weights(scores):
    """Return weights (T, T) for scores (T, T): of the positions up to its own, each row a softmax.

    Where all scores are equal, that is the mean of the past again.
    """
    tril = torch.tril(torch.ones_like(scores))
    scores = scores.masked_fill(tril == 0, float("-inf"))
    return torch.softmax(scores, dim=-1)
