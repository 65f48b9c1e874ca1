"""Slow, literal twins of the readouts' numbers; they import nothing of the package."""

import numpy as np


def ridge_weights(features, ratings, penalty):
    """Solve the normal equations of a ridge regression with an intercept: (weights, mean feature, mean)."""
    features, ratings = np.asarray(features, float), np.asarray(ratings, float)
    centre, mean = features.mean(axis=0), ratings.mean()
    z = features - centre
    return np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T @ (ratings - mean)), centre, mean


def relative_penalty(features, penalty):
    """Turn a penalty relative to the mean squared length of the centred features into an absolute one."""
    z = np.asarray(features, float) - np.mean(features, axis=0)
    return penalty * (z**2).sum(axis=1).mean()


def inner_error(features, ratings, splits, penalty):
    """Predict each inner fold from the others; the squared error as a share of the variance."""
    predicted = np.empty(len(ratings))
    for split in np.unique(splits):
        inside = splits == split
        absolute = relative_penalty(features[~inside], penalty)
        weights, centre, mean = ridge_weights(features[~inside], ratings[~inside], absolute)
        predicted[inside] = mean + (features[inside] - centre) @ weights
    return ((predicted - ratings) ** 2).mean() / ratings.var()


def train_head_sgd(features, ratings, head, orders, rate, batch):
    """Train Dense (ReLU), Dense (1) by plain gradient descent, one example after the other."""
    w1, b1, w2, b2 = (np.array(part, float) for part in head)
    losses = []
    for order in orders:
        total = 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            steps = [np.zeros_like(w1), np.zeros_like(b1), np.zeros_like(w2), np.zeros_like(b2)]
            for row in rows:
                before = w1 @ features[row] + b1
                hidden = np.where(before > 0, before, 0)
                error = w2 @ hidden + b2 - ratings[row]
                total += float(error**2)
                slope = 2 * error / len(rows)
                back = slope * w2 * (before > 0)
                steps[0] += np.outer(back, features[row])
                steps[1] += back
                steps[2] += slope * hidden
                steps[3] += slope
            w1, b1, w2, b2 = (part - rate * step for part, step in zip((w1, b1, w2, b2), steps, strict=True))
        losses.append(total / len(order))
    return (w1, b1, w2, b2), np.array(losses)


def correlation(first, second):
    """Pearson's r, term by term."""
    mean_1, mean_2 = sum(first) / len(first), sum(second) / len(second)
    products = sum((a - mean_1) * (b - mean_2) for a, b in zip(first, second, strict=True))
    squares_1 = sum((a - mean_1) ** 2 for a in first)
    squares_2 = sum((b - mean_2) ** 2 for b in second)
    return products / (squares_1 * squares_2) ** 0.5


def whitened(features, training, shrinkage):
    """Whiten channels by the covariance over training images and cells, image by image, cell by cell."""
    features = np.asarray(features, float)
    images, channels, rows, columns = features.shape
    means = features[training].mean(axis=0)
    covariance = np.zeros((channels, channels))
    for image in training:
        for row in range(rows):
            for column in range(columns):
                deviation = features[image, :, row, column] - means[:, row, column]
                covariance += np.outer(deviation, deviation)
    covariance += shrinkage * np.trace(covariance) / channels * np.eye(channels)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    result = np.empty_like(features)
    for image in range(images):
        for row in range(rows):
            for column in range(columns):
                result[image, :, row, column] = root @ (
                    features[image, :, row, column] - means[:, row, column]
                )
    return result


def mixture_of_traits(predicted, ratings, target, strength):
    """Mix standardised predictions for one target, drawn towards its own, by the normal equations."""
    x = (predicted - ratings.mean(axis=0)) / ratings.std(axis=0)
    y = ((ratings - ratings.mean(axis=0)) / ratings.std(axis=0))[:, target]
    own = np.eye(x.shape[1])[target]
    n = len(x)
    return np.linalg.solve(x.T @ x + strength * n * np.eye(x.shape[1]), x.T @ y + strength * n * own)
