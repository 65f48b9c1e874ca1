"""Layer-wise relevance propagation written out: every layer a matrix, every rule its formula, float64."""

import numpy as np


def convolution_matrix(weight, rows, columns):
    """(out * row * column, in * row * column) of a 3x3 convolution with padding 1."""
    outs, ins = weight.shape[:2]
    matrix = np.zeros((outs, rows, columns, ins, rows, columns))
    for row in range(rows):
        for column in range(columns):
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    if 0 <= row + down < rows and 0 <= column + right < columns:
                        matrix[:, row, column, :, row + down, column + right] = weight[
                            :, :, down + 1, right + 1
                        ]
    return matrix.reshape(outs * rows * columns, -1)


def divide(relevance, total):
    return relevance / np.where(total == 0, 1e-7, total)


def hand_on(rule, x, matrix, bias, relevance, bounds=None):
    """Relevance of a layer's inputs from that of its outputs."""
    up, down = np.maximum(matrix, 0), np.minimum(matrix, 0)
    total = matrix @ x + bias
    if rule == "z":
        return x * (matrix.T @ divide(relevance, total))
    if rule.startswith("epsilon"):
        stabiliser = float(rule.split()[1])
        return x * (matrix.T @ (relevance / (total + np.where(total >= 0, stabiliser, -stabiliser))))
    if rule == "flat":
        flat = (matrix != 0).astype(float)
        return flat.T @ divide(relevance, flat.sum(1))
    if rule == "w_square":
        square = matrix**2
        return square.T @ divide(relevance, square.sum(1))
    if rule == "z_plus_fast":
        return x * (up.T @ divide(relevance, up @ x))
    if rule == "z_box":
        low, high = bounds
        sent = divide(relevance, matrix @ x - up @ low - down @ high)
        return x * (matrix.T @ sent) - low * (up.T @ sent) - high * (down.T @ sent)
    alpha, beta, has_bias = {
        "alpha_1_beta_0": (1, 0, True),
        "alpha_2_beta_1": (2, 1, True),
        "z_plus": (1, 0, False),
        "alpha_2_beta_1_ignore_bias": (2, 1, False),
    }[rule]
    plus, minus = np.maximum(x, 0), np.minimum(x, 0)
    bias = bias if has_bias else 0
    sent = divide(relevance, up @ plus + down @ minus + bias)
    result = alpha * (plus * (up.T @ sent) + minus * (down.T @ sent))
    if beta:
        sent = divide(relevance, down @ plus + up @ minus + bias)
        result -= beta * (plus * (down.T @ sent) + minus * (up.T @ sent))
    return result


def relevance_map(values, layers, head, rules, dense_rule, bounds, average="proportional", start=None):
    """The map of one image, summed over colour.

    `values` (channel, row, column); `layers` a list of (weight, bias) or "pool"; `head` four arrays.
    """
    states, maxima = [np.asarray(values, float)], []
    for layer in layers:
        x = states[-1]
        if isinstance(layer, str):
            channels, rows, columns = x.shape
            pooled = np.zeros((channels, rows // 2, columns // 2))
            where = {}
            for place in np.ndindex(pooled.shape):
                c, r, k = place
                window = x[c, 2 * r : 2 * r + 2, 2 * k : 2 * k + 2]
                first = np.unravel_index(window.argmax(), (2, 2))
                pooled[place] = window[first]
                where[place] = (c, 2 * r + first[0], 2 * k + first[1])
            maxima.append(where)
            states.append(pooled)
        else:
            weight, bias = layer
            total = convolution_matrix(weight, *x.shape[1:]) @ x.ravel() + np.repeat(
                bias, x.shape[1] * x.shape[2]
            )
            maxima.append(None)
            states.append(np.maximum(total, 0).reshape(-1, *x.shape[1:]))
    top = states[-1]
    mean = top.mean((1, 2))
    fc1, fc1_bias, fc2, fc2_bias = head
    hidden = np.maximum(fc1 @ mean + fc1_bias, 0)
    output = fc2 @ hidden + fc2_bias
    relevance = hand_on(dense_rule, hidden, fc2, fc2_bias, output if start is None else start(output))
    relevance = hand_on(dense_rule, mean, fc1, fc1_bias, relevance)
    if average == "proportional":
        relevance = top * divide(relevance, top.sum((1, 2)))[:, None, None]
    else:
        relevance = np.broadcast_to(relevance[:, None, None] / top[0].size, top.shape)
    number = sum(not isinstance(layer, str) for layer in layers)
    for layer, x, where in zip(layers[::-1], states[-2::-1], maxima[::-1], strict=True):
        if isinstance(layer, str):
            routed = np.zeros_like(x)
            for place, source in where.items():
                routed[source] += relevance[place]
            relevance = routed
            continue
        number -= 1
        weight, bias = layer
        matrix = convolution_matrix(weight, *x.shape[1:])
        wide = np.repeat(bias, x.shape[1] * x.shape[2])
        relevance = hand_on(rules[number], x.ravel(), matrix, wide, relevance.ravel(), bounds).reshape(
            x.shape
        )
    return float(output[0]), relevance.sum(0)
