"""Lossless coding of pictures pixel by pixel, compiled by numba: adaptive linear prediction, then a small network.

For each pixel a regression on its neighbours is fitted anew to the known pixels around, of which those in surroundings like its
own count most (weighted least squares, as in Vanilc: Weinlich et al. 2016, Probability distribution estimation for
autoregressive pixel-predictive image coding, IEEE Transactions on Image Processing 25). By how much neighbours are off its
prediction, in units of how far predictions were off nearby, is what the network sees; it gives a mixture of logistics.

Only additions, multiplications, divisions, comparisons and splits into fraction and exponent of float64, in a fixed order, lead
to the whole numbers that the mixture is of. IEEE 754 makes these the same on every machine; numba neither reorders nor fuses
them.

`field` is values and errors of predictions of a picture's planes in the order of coding, flat, each plane with a border; `plan`
is what `coder.Plan.arrays` gives; `room` is scratch space, see `coder.Field.room`.
"""

from __future__ import annotations

import math

import numpy as np

from fivefold.codec.kernels import Tables, compiled, intervals, pop_mixtures

Arrays = tuple[np.ndarray, ...]
_LN2 = 0.6931471805599453
_FARTHEST = float(1 << 24)


@compiled
def log2(x: float) -> float:
    """The binary logarithm, linear between powers of two, so that it is exact."""
    part, exponent = math.frexp(x)
    return 2.0 * part - 2.0 + exponent


@compiled
def _mean(values: np.ndarray, i: int, stride: int) -> float:
    """Of the nearest neighbours."""
    near = 2.0 * (values[i - 1] + values[i - stride])
    mean: float = (near + (values[i - stride - 1] + values[i - stride + 1])) / 6.0
    return mean


@compiled
def _solve(matrix: np.ndarray, vector: np.ndarray, least: float) -> None:
    """Make of `vector` the solution of the symmetric positive system, by L D Lᵀ; pivots are `least` at least."""
    n = len(vector)
    for j in range(n):
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= matrix[j, k] * matrix[j, k] * matrix[k, k]
        pivot = max(pivot, least)
        matrix[j, j] = pivot
        for i in range(j + 1, n):
            rest = matrix[i, j]
            for k in range(j):
                rest -= matrix[i, k] * matrix[j, k] * matrix[k, k]
            matrix[i, j] = rest / pivot
    for i in range(n):
        for k in range(i):
            vector[i] -= matrix[i, k] * vector[k]
    for i in range(n - 1, -1, -1):
        vector[i] /= matrix[i, i]
        for k in range(i + 1, n):
            vector[i] -= matrix[k, i] * vector[k]


@compiled
def _predict(values: np.ndarray, i: int, scale: float, count: int, plan: Arrays, room: Arrays) -> float:
    """The regression's prediction for pixel i, from `count` pixels around."""
    taps, planes, near, prior, strengths = plan[:5]
    matrix, vector, row, here, means, window, decay = room[:7]
    n, own = len(taps), means[0]
    slack, ridge = strengths[0] * scale * scale, strengths[1] * scale * scale
    for j in range(n):
        here[j] = values[i + taps[j]] - means[planes[j]]
    vector[:] = 0.0
    matrix[:] = 0.0
    total = 0.0
    for t in range(count):
        place, distance = i + window[t], slack
        for j in range(n):
            row[j] = values[place + taps[j]] - means[planes[j]]
        for j in range(n):
            distance += (row[j] - here[j]) * (row[j] - here[j]) * near[j]
        weight, target = decay[t] / distance, values[place] - own
        total += weight
        for j in range(n):
            weighed = weight * row[j]
            vector[j] += weighed * target
            for k in range(n):
                matrix[j, k] += weighed * row[k]
    for j in range(n):
        matrix[j, j] += ridge * total
        vector[j] += ridge * total * prior[j]
    _solve(matrix, vector, 1e-9 * ridge * total + 1e-30)
    expected: float = own
    for j in range(n):
        expected += vector[j] * here[j]
    return expected


@compiled
def _around(row: int, column: int, width: int, plan: Arrays, room: Arrays) -> int:
    """How many pixels of the window are in the picture, which `room` gets."""
    flat, rows, columns, weights = plan[5:9]
    window, decay, count = room[5], room[6], 0
    for t in range(len(flat)):
        if row + rows[t] >= 0 and 0 <= column + columns[t] < width:
            window[count], decay[count] = flat[t], weights[t]
            count += 1
    return count


@compiled
def look(
    i: int, place: tuple[int, int], shape: tuple[int, int], highest: float, field: Arrays, plan: Arrays, room: Arrays
) -> tuple[float, float]:
    """What is expected of pixel i, at a row and column, and how far that is off about here; `room` gets what the network sees.

    `shape` is that of the picture, `(stride of rows, elements of a plane)`.
    """
    values, errors = field
    seen, others, floor = plan[9], plan[10], plan[4][2]
    means, features = room[4], room[7]
    stride, size = shape
    for k in range(len(means)):
        means[k] = _mean(values, i - k * size, stride)
    west, north, west2, north2 = errors[i - 1], errors[i - stride], errors[i - 2], errors[i - 2 * stride]
    northwest, northeast = errors[i - stride - 1], errors[i - stride + 1]
    level = 2.0 * (abs(west) + abs(north)) + (abs(northwest) + abs(northeast)) + 0.5 * (abs(west2) + abs(north2))
    scale = level / 7.0 + floor
    count = _around(place[0], place[1], stride - 2 * plan[11][0], plan, room)
    expected = min(max(_predict(values, i, scale, count, plan, room), 0.0), highest)
    inverse, k = 1.0 / scale, 0
    for j in range(len(seen)):
        features[k] = (values[i + seen[j]] - expected) * inverse
        k += 1
    w, n, nw, ne = values[i - 1], values[i - stride], values[i - stride - 1], values[i - stride + 1]
    median = max(min(w, n), min(max(w, n), w + n - nw))
    for number in (median - expected, means[0] - expected, west, north, northwest, northeast, west2, north2):
        features[k] = number * inverse
        k += 1
    wide = 0.0
    for down in range(-4, 1):
        for right in range(-4, 5 if down else 0):
            wide += abs(errors[i + down * stride + right])
    features[k] = log2(scale)
    features[k + 1] = log2((abs(w - nw) + abs(n - nw) + abs(n - ne)) * inverse + 0.25)
    features[k + 2] = log2(wide / 40.0 * inverse + 0.125)
    features[k + 3] = 2.0 * expected / highest - 1.0
    features[k + 4] = log2(expected + 1.0) - 4.0
    features[k + 5] = log2(highest - expected + 1.0) - 4.0
    k += 6
    for j in range(len(others)):
        back, offset = others[j, 0], others[j, 1]
        features[k] = (values[i + offset] - means[back]) * inverse
        features[k + 1] = errors[i + offset] * inverse
        k += 2
    for j in range(k):
        features[j] = min(max(features[j], -8.0), 8.0)
    return expected, scale


@compiled
def distribution(expected: float, scale: float, network: Arrays, lookup: Arrays, tables: Tables, room: Arrays) -> None:
    """Put the mixture that the network gives for the features in `room` into `tables`, whose arrays are of one distribution."""
    features, hidden, deeper, outputs = room[7:11]
    _layer(features, network[0], network[1], hidden, True)
    _layer(hidden, network[2], network[3], deeper, True)
    _layer(deeper, network[4], network[5], outputs, False)
    weights, locations, inverses, farthest = tables[1:5]
    components, highest = locations.shape[1], outputs[0]
    for k in range(components + 2):
        highest = max(highest, outputs[k])
    for k in range(components + 2):
        weights[0, k] = lookup[0][_whole((highest - outputs[k]) * 16.0, 0.0, len(lookup[0]) - 1.0)]
    log_scale = _LN2 * log2(scale)
    for k in range(components):
        location = (expected + scale * outputs[components + 2 + k]) * 32.0
        locations[0, k] = _whole(location, -_FARTHEST * 32.0, _FARTHEST * 32.0)
        step = _whole((log_scale + outputs[2 * components + 2 + k]) * 16.0, -64.0, 224.0) + 64
        inverses[0, k], farthest[0, k] = lookup[1][step], lookup[2][step]


@compiled
def _layer(inputs: np.ndarray, weight: np.ndarray, bias: np.ndarray, outputs: np.ndarray, rectified: bool) -> None:
    outputs[:] = bias
    for i in range(len(weight)):
        number = inputs[i]
        for k in range(len(outputs)):
            outputs[k] += number * weight[i, k]
    if rectified:
        for k in range(len(outputs)):
            outputs[k] = max(outputs[k], 0.0)


@compiled
def _whole(x: float, low: float, high: float) -> int:
    """The nearest whole number, cut to a range; what is no number is the lower end."""
    if not x > low:
        return int(low)
    return math.floor(min(x, high) + 0.5)


@compiled
def finish_row(first: int, width: int, border: int, field: Arrays) -> None:
    """Continue a row that is known, from its `first` pixel on, beyond its ends, and begin the next."""
    stride = width + 2 * border
    for array in field:
        for k in range(border):
            array[first - 1 - k] = array[first]
            array[first + width + k] = array[first + width - 1]
            array[first + stride - 1 - k] = array[first]


@compiled
def features_of(plane: np.ndarray, first: int, highest: float, field: Arrays, plan: Arrays, room: Arrays) -> np.ndarray:
    """What the network would see of each pixel of a plane `(h, w)`, its value, by how much that is off, and the scale.

    `(h, w, features + 3)`, float32. `first` is the place of the first pixel in the field, which gets the plane.
    """
    height, width = plane.shape
    border, size = plan[11]
    stride, k = width + 2 * border, len(room[7])
    found = np.empty((height, width, k + 3), np.float32)
    for row in range(height):
        for column in range(width):
            i = first + row * stride + column
            expected, scale = look(i, (row, column), (stride, size), highest, field, plan, room)
            value = plane[row, column]
            field[0][i], field[1][i] = value, value - expected
            out = found[row, column]
            out[:k] = room[7]
            out[k], out[k + 1], out[k + 2] = value, value - expected, scale
        finish_row(first + row * stride, width, border, field)
    return found


@compiled
def code(
    plane: np.ndarray,
    spans: np.ndarray,
    state: tuple[np.ndarray, np.ndarray, int],
    first: int,
    field: Arrays,
    plan: Arrays,
    room: Arrays,
    network: Arrays,
    lookup: Arrays,
    tables: Tables,
) -> int:
    """Encode a plane `(h, w)` int64, to intervals in `spans` `(2, h * w)` uint64; or, without spans, decode it.

    `state` is the heads, words and count of words of the coder that it is decoded from. Returns the number of words left, or −1
    if there were too few.
    """
    heads, words, count = state
    height, width = plane.shape
    border, size = plan[11]
    stride, highest = width + 2 * border, float(len(tables[0]) - 2)
    symbol = np.empty(1, np.int64)
    for row in range(height):
        for column in range(width):
            i = first + row * stride + column
            expected, scale = look(i, (row, column), (stride, size), highest, field, plan, room)
            distribution(expected, scale, network, lookup, tables, room)
            if spans.shape[1]:
                symbol[0] = plane[row, column]
                starts, frequencies = intervals(symbol, tables)
                spans[0, row * width + column], spans[1, row * width + column] = starts[0], frequencies[0]
            else:
                symbol, count = pop_mixtures(heads, words, count, tables)
                if count < 0:
                    return count
                plane[row, column] = symbol[0]
            value = float(symbol[0])
            field[0][i], field[1][i] = value, value - expected
        finish_row(first + row * stride, width, border, field)
    return count
