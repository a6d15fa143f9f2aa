"""The first stage in NumPy, one history at a time."""

import numpy as np

from transforms import features


def unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def user(head, events, elapsed=None):
    """The user of a history: `events` are vectors of length 1 `(n, D)`, oldest first."""
    tower = head.tower
    count, dim = len(events), tower.dim
    means = []
    for pool in range(2):
        weights = []
        for j in range(count):
            back = count - 1 - j
            bucket = min(int(np.floor(2 * np.log2(back + 1) + 1e-4)), 39)
            weight = tower.position.numpy()[bucket, pool]
            if tower.use_time:
                weight += tower.elapsed.numpy()[elapsed[j], pool]
            weights.append(np.exp(weight))
        mean = sum((w * e for w, e in zip(weights, events, strict=True)), np.zeros(dim))
        means.append(mean / sum(weights) if count else mean)
    w1, b1 = (value.numpy() for value in tower.hidden.variables)
    w2, b2 = (value.numpy() for value in tower.output_layer.variables)
    hidden = np.maximum(np.concatenate(means) @ w1 + b1, 0)
    return unit(means[0] + hidden @ w2 + b2)


def batch(histories, targets, labels, elapsed):
    """Transformed features of histories of ids, padded with a known id on the right."""
    width = max(map(len, histories)) + 1
    padded = np.full((len(histories), width), 5, np.int64)
    times = np.zeros((len(histories), width), np.int64)
    for row, (history, buckets) in enumerate(zip(histories, elapsed, strict=True)):
        padded[row, : len(history)] = history
        times[row, : len(history)] = buckets
    return {
        features.HISTORY_ITEM: padded,
        features.HISTORY_ELAPSED: times,
        features.HISTORY_LENGTH: np.array([[len(history)] for history in histories]),
        features.TARGET_ITEM: np.array(targets)[:, None],
        features.LABEL: np.array(labels)[:, None],
    }
