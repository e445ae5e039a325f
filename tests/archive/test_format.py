"""A decoder in plain Python, written from docs/format.md alone, reads what the package writes.

Slow and simple on purpose: no NumPy, nothing of the package in it.
"""

from __future__ import annotations

import bisect
import io
import itertools
import json
import math
import struct
import warnings
import zlib
from array import array
from decimal import Decimal, localcontext
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fivefold.archive.read import decompress
from fivefold.archive.write import ArchiveOptions, compress, write_archive
from fivefold.codec import rounding
from fivefold.images.coding import ImageCodec
from fivefold.images.dataset import make_items
from fivefold.images.exact import LatentGrid
from fivefold.images.settings import configure
from fivefold.modality import modality_of
from fivefold.model.fitted import FittedModel
from fivefold.pictures.coder import OUTPUTS, PixelCoder, count_features, count_taps
from fivefold.storage import as_stored, load, save
from fivefold.training.fit import fit

GOLDEN = Path(__file__).parents[1] / "golden" / "images"
TOTAL = 1 << 28


def crc32c(content: bytes) -> int:
    """Castagnoli's, bit by bit."""
    state = 0xFFFFFFFF
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def summed(content: bytes, offset: int, size: int) -> bytes:
    part = content[offset : offset + size]
    assert crc32c(part) == struct.unpack_from("<I", content, offset + size)[0]
    return part


# The container


def read_container(content: bytes):
    """The header's facts, attachments, and per block its items, method, codes, elements and digest."""
    magic, version, _, size = struct.unpack_from("<8sHHI", content)
    assert magic == bytes.fromhex("89 46 49 56 45 0D 0A 1A")
    assert version in (1, 2)
    facts = json.loads(summed(content, 0, 16 + size)[16:])
    attached, place = {}, 16 + size + 4
    for name, length in facts["attachments"].items():
        attached[name] = summed(content, place, length)
        place += length + 4
    entry, end = ("<QI0s", len(content) - 20) if version == 1 else ("<QI32s", len(content) - 48)
    index, count = struct.unpack_from("<QI", content, end)
    sum_of = struct.pack("<I", crc32c(content[index:end])) if version == 1 else sha256(content[index:end]).digest()
    assert content[end + 12 :] == sum_of + b"FFIX"
    blocks = []
    for start, items, digest in struct.iter_unpack(entry, content[index:end]):
        head = summed(content, start, 28)
        magic, again, method, first, second, *sums = struct.unpack("<4sIBxxx2I2I", head)
        assert (magic, again) == (b"BLCK", items)
        layers = content[start + 32 : start + 32 + first], content[start + 32 + first : start + 32 + first + second]
        assert [crc32c(layer) for layer in layers] == sums
        blocks.append((items, method, *layers, digest))
    assert count == len(blocks)
    return facts, attached, blocks


def read_safetensors(content: bytes):
    """Flat lists and shapes by name."""
    size = struct.unpack_from("<Q", content)[0]
    found = {}
    for name, about in json.loads(content[8 : 8 + size]).items():
        if name != "__metadata__":
            first, last = about["data_offsets"]
            kind = {"F32": "f", "F64": "d", "U8": "B", "BOOL": "B"}[about["dtype"]]
            found[name] = array(kind, content[8 + size + first : 8 + size + last]).tolist(), about["shape"]
    return found


# A coded layer


class Layer:
    """A coder's heads and words, and the rounding of parameters with its hints."""

    def __init__(self, content: bytes) -> None:
        lanes, size = struct.unpack_from("<HI", content)
        self.heads = list(struct.unpack_from(f"<{lanes}Q", content, 6 + size))
        words = content[6 + size + 8 * lanes :]
        self.words = list(struct.unpack(f"<{len(words) // 4}I", words))
        self.parity, number, shift, hint = {}, 0, 0, 0
        for byte in content[6 : 6 + size]:
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                hint += number
                self.parity[hint >> 1] = hint & 1
                number = shift = 0
        self.numbered = 0

    def round(self, value: float) -> int:
        parity = self.parity.get(self.numbered)
        self.numbered += 1
        if parity is None:
            return round(value)
        lower = math.floor(value)
        return lower + (lower & 1 != parity)

    def pop(self, mixtures) -> list[int]:
        """A batch: a symbol per mixture."""
        found = []
        for i, mixture in enumerate(mixtures):
            x = self.heads[i % len(self.heads)]
            slot = x % TOTAL
            symbol = bisect.bisect_right(range(mixture.symbols), slot, key=mixture.start) - 1
            start = mixture.start(symbol)
            x = (mixture.start(symbol + 1) - start) * (x // TOTAL) + slot - start
            if x < 1 << 32:
                x = x << 32 | self.words.pop()
            self.heads[i % len(self.heads)] = x
            found.append(symbol)
        return found

    def is_done(self) -> bool:
        return not self.words and all(head == 1 << 32 for head in self.heads)


def whole(value: Decimal) -> int:
    return int(value.to_integral_value())


def logistic(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def normal(x: Decimal) -> Decimal:
    """By its Taylor series."""
    term = total = x
    n = 0
    while abs(term) > Decimal("1e-25") and x < 10:
        n += 1
        term = -term * x * x / (2 * n)
        total += term / (2 * n + 1)
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
    return Decimal("0.5") + total / (2 * pi).sqrt() if x < 10 else Decimal(1)


with localcontext(prec=60):
    WEIGHTS = [whole(2**24 * (Decimal(-i) / 16).exp()) for i in range(300)]
    SCALES = [whole(2**33 * (Decimal(-i) / 16).exp()) for i in range(-64, 225)]
    CELLS = {
        name: [whole(2**30 * shape(Decimal(i) / 64)) for i in range(24 * 64 + 1)]
        for name, shape in (("logistic", logistic), ("normal", normal))
    }


class Mixture:
    """A distribution by its rounded parameters."""

    def __init__(self, shape: str, symbols: int, log_weights, locations, log_scales, layer: Layer, edges=None) -> None:
        self.symbols, cells = symbols, CELLS[shape]
        self.edges = edges or [32 * j - 16 for j in range(symbols + 1)]
        self.weights = [WEIGHTS[min(-layer.round(max(16 * w, -299)), 299)] for w in log_weights]
        self.locations = [layer.round(32 * min(max(m, -(2.0**24)), 2.0**24)) for m in locations]
        self.scales = [SCALES[layer.round(16 * min(max(s, -4), 14)) + 64] for s in log_scales]
        self.cells = [2**30 - c for c in cells[:0:-1]] + cells

    def start(self, j: int) -> int:
        if j <= 0 or j >= self.symbols:
            return 0 if j <= 0 else TOTAL
        *weights, low, _ = self.weights
        total = low << 30
        for weight, location, scale in zip(weights, self.locations, self.scales, strict=True):
            most = (24 * 64 << 32) // scale + 1
            distance = min(max(self.edges[j] - location, -most), most)
            place = min(max(distance * scale >> 16, -24 * 64 << 16), (24 * 64 << 16) - 1)
            cell, rest = (place >> 16) + 24 * 64, place & 0xFFFF
            total += weight * (self.cells[cell] + ((self.cells[cell + 1] - self.cells[cell]) * rest >> 16))
        return (total // sum(self.weights)) * (TOTAL - self.symbols) // 2**30 + j


# The codes


def read_codes(layer: bytes, n: int, steps, prior) -> list[list[float]]:
    """z of n items."""
    coder, weights, means, roots = Layer(layer), *prior
    d, z = len(steps), [[] for _ in range(n)]
    scaled = [[[] for _ in weights] for _ in range(n)]
    log_weights = [[math.log(w) for w in weights] for _ in range(n)]
    for u in range(d):
        reach = math.ceil(16 / steps[u])
        root = [[roots[(m * d + u) * d + v] for v in range(u + 1)] for m in range(len(weights))]
        centres = [
            [means[m * d + u] + sum(root[m][v] * t[m][v] for v in range(u)) for m in range(len(weights))]
            for t in scaled
        ]
        batch = [
            Mixture(
                "normal",
                2 * reach,
                [w - max(log_weights[i]) for w in log_weights[i]] + [-math.inf, -math.inf],
                [centre / steps[u] + reach for centre in centres[i]],
                [math.log(root[m][u] / steps[u]) for m in range(len(weights))],
                coder,
            )
            for i in range(n)
        ]
        for i, symbol in enumerate(coder.pop(batch)):
            z[i].append((symbol - reach) * steps[u])
            for m in range(len(weights)):
                t = (z[i][u] - centres[i][m]) / root[m][u]
                scaled[i][m].append(t)
                log_weights[i][m] += -t * t / 2 - math.log(root[m][u])
    assert coder.is_done()
    return z


def standard_normal(d: int):
    return [1.0], [0.0] * d, [float(u == v) for u in range(d) for v in range(d)]


# The networks


class Networks:
    def __init__(self, config: dict, tensors) -> None:
        self.schema, self.network = config["schema"], config["fit"]["network"]
        self.border = config["fit"]["context"]["window"] // 2
        self.depth, self.tensors = config["fit"]["context"]["context_depth"], tensors

    def linear(self, name: str, x: list[float]) -> list[float]:
        weight, (rows, columns) = self.tensors[f"{name}.weight"]
        bias = self.tensors[f"{name}.bias"][0]
        return [sum(map(float.__mul__, weight[i * columns : (i + 1) * columns], x)) + bias[i] for i in range(rows)]

    def activate(self, x: float) -> float:
        return max(x, 0.0) if self.network["activation"] == "relu" else x / (1 + math.exp(-x))

    def mean(self, raw: list[float]) -> float:
        """Of an element under the VAE's own likelihood."""
        if self.network["likelihood"] == "bernoulli":
            return sigmoid(raw[0])
        if self.network["likelihood"] == "gaussian":
            return raw[0]
        top = self.schema["high"] - self.schema["low"]
        assert top > 32
        log_weights, locations, log_scales = mixture_of(raw, int(top))
        total = math.exp(log_weights[-1])
        for w, place, s in zip(log_weights[:-2], locations, map(math.exp, log_scales), strict=True):
            total += math.exp(w) * s * (softplus(place / s) - softplus((place - top) / s)) / top
        return total

    def guide(self, z: list[float] | None):
        """The coarse map and the mean item, `[channel][row][column]` each."""
        if z is None:
            return None
        sides, channels = [(self.schema["height"], self.schema["width"])], []
        while not channels or max(sides[-1]) > self.network["smallest_side"]:
            sides.append(tuple((side + 1) // 2 for side in sides[-1]))
            channels.append(min(self.network["first_channels"] * 2 ** len(channels), self.network["max_channels"]))
        x = [self.activate(v) for v in self.linear("vae.decoder.layers.0", z)]
        x = [self.activate(v) for v in self.linear("vae.decoder.layers.2", x)]
        (h, w), x = sides[-1], iter(x)
        maps = [[[next(x) for _ in range(w)] for _ in range(h)] for _ in range(channels[-1])]
        for number, larger in enumerate(sides[-2::-1]):
            coarse = [[[self.activate(v) for v in row] for row in each] for each in maps] if number else maps
            maps = self.transposed(f"vae.decoder.layers.{5 + 2 * number}", coarse, larger)
        p = len(maps) // self.schema["channels"]
        mean = [
            [[self.mean(list(raw)) for raw in zip(*row, strict=True)] for row in zip(*maps[q : q + p], strict=True)]
            for q in range(0, len(maps), p)
        ]
        return coarse, mean

    def transposed(self, name: str, maps, larger):
        weight, (inputs, outputs, _, _) = self.tensors[f"{name}.weight"]
        bias = self.tensors[f"{name}.bias"][0]
        found = [[[bias[o]] * larger[1] for _ in range(larger[0])] for o in range(outputs)]
        for o in range(outputs):
            for y in range(larger[0]):
                for x in range(larger[1]):
                    for u, v in ((u, v) for u in range(3) for v in range(3)):
                        a, b = y + 1 - u, x + 1 - v
                        if a % 2 or b % 2 or not (0 <= a // 2 < len(maps[0]) and 0 <= b // 2 < len(maps[0][0])):
                            continue
                        for i in range(inputs):
                            found[o][y][x] += maps[i][a // 2][b // 2] * weight[((i * outputs + o) * 3 + u) * 3 + v]
        return found

    def parameters(self, values, guide, r: int, c: int, q: int) -> list[float]:
        """Of the element's mixture; `values[row][column]` are the levels of the channels that are known."""
        height, width, channels = (self.schema[name] for name in ("height", "width", "channels"))
        top = self.schema["high"] - self.schema["low"]
        told = []
        for row in range(r - self.border, r + 1):
            for column in range(c - self.border, c + self.border + 1):
                inside = row >= 0 and 0 <= column < width
                known = values[row][column] if inside else []
                unit = [level / top for level in known]
                for show in (
                    lambda v: v,
                    lambda _: 1.0,
                    lambda v: float(v == 0),
                    lambda v: min(max(64 * (v - 1) + 1, 0.0), 1.0),
                    lambda v: min(max(16 * (v - 1) + 1, 0.0), 1.0),
                ):
                    told += [show(v) for v in unit] + [0.0] * (channels - len(unit))
        told.append(float(guide is not None))
        for place, size in ((r, height), (c, width)):
            told.append(float(place % 2))
            for f in (0.5, 1, 2, 4):
                angle = f * math.pi * place / max(size - 1, 1)
                told += [math.sin(angle), math.cos(angle)]
        told += [float(channel == q) for channel in range(channels)] if channels > 1 else []
        if guide is None:
            told += [0.0] * (self.tensors["context.layers.0.0.weight"][1][1] - len(told))
        coarse, mean = guide or ([], [])
        told += [each[r * len(each) // height][c * len(each[0]) // width] for each in coarse]
        for row in range(r - 2, r + 3):
            for column in range(c - 2, c + 3):
                inside = 0 <= row < height and 0 <= column < width
                told += [each[row][column] if inside else 0.0 for each in mean]
        for layer in range(self.depth):
            told = [max(v, 0.0) for v in self.linear(f"context.layers.0.{2 * layer}", told)]
        return self.linear(f"context.layers.0.{2 * self.depth}", told)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def mixture_of(raw: list[float], top: int):
    """Log weights, locations and log scales from a network's numbers."""
    k = 5
    logits, places, scales = raw[: k + 2], raw[k + 2 : 2 * k + 2], raw[2 * k + 2 :]
    norm = max(logits) + math.log(sum(math.exp(v - max(logits)) for v in logits))
    log_scales = [min(max(v, -7.0), 2.0) + math.log(top) for v in scales]
    return [v - norm for v in logits], [top * sigmoid(v) for v in places], log_scales


# The elements


def read_elements(layer: bytes, codes, networks: Networks):
    """Levels `[item][row][column][channel]`."""
    coder, schema, guides = Layer(layer), networks.schema, [networks.guide(z) for z in codes]
    height, width, channels = (schema[name] for name in ("height", "width", "channels"))
    top = int(schema["high"] - schema["low"])
    items = [[[[] for _ in range(width)] for _ in range(height)] for _ in codes]
    for r, c, q in ((r, c, q) for r in range(height) for c in range(width) for q in range(channels)):
        batch = []
        for item, guide in zip(items, guides, strict=True):
            parameters = mixture_of(networks.parameters(item, guide, r, c, q), top)
            batch.append(Mixture("logistic", top + 1, *parameters, coder))
        for item, level in zip(items, coder.pop(batch), strict=True):
            item[r][c].append(level)
    assert coder.is_done()
    return items


def read_archive(content: bytes, config: dict, tensors) -> bytes:
    """The items' bytes."""
    facts, _, blocks = read_container(content)
    prior = (
        [tensors[f"prior.{name}"][0] for name in ("weights", "means", "roots")] if "prior.weights" in tensors else None
    )
    networks, found = Networks(config, tensors), b""
    steps, first = facts["steps"], 0
    before = sha256(content[: content.index(b"BLCK")]).digest()
    for items, method, codes, elements, digest in blocks:
        values = elements
        if method == 1:
            no_code = [None] * items
            z = no_code if steps is None else read_codes(codes, items, steps, prior or standard_normal(len(steps)))
            levels = read_elements(elements, z, networks)
            flat = (value for item in levels for row in item for cell in row for value in cell)
            values = bytes(int(facts["schema"]["low"]) + value for value in flat)
        if digest:
            assert digest == sha256(before + struct.pack("<Q", first) + sha256(values).digest()).digest()
        found, first = found + values, first + items
    return found


@pytest.fixture(scope="module")
def golden():
    config = json.loads((GOLDEN / "model" / "config.json").read_text(encoding="utf-8"))
    return config, read_safetensors((GOLDEN / "model" / "model.safetensors").read_bytes())


@pytest.mark.parametrize("version", ["", "-2"])
def test_the_golden_archive(golden, version):
    content = (GOLDEN / f"archive{version}.ff").read_bytes()
    assert read_archive(content, *golden) == decompress(content, load(GOLDEN / "model", "cpu")).tobytes()


def test_names_and_an_embedded_model_and_hints(monkeypatch):
    monkeypatch.setattr(rounding, "GUARD", 1e-2)  # so that there are some
    model = load(GOLDEN / "model", "cpu")
    values = np.random.default_rng(0).integers(90, 110, (2, 8, 6, 3), np.uint8)
    file = io.BytesIO()
    write_archive(
        model, make_items(values, model.schema, names=("a.png", "b/c.png")), file, ArchiveOptions(embed_model=True)
    )
    _, attached, _ = read_container(file.getvalue())
    assert json.loads(zlib.decompress(attached["names"])) == ["a.png", "b/c.png"]
    embedded = json.loads(attached["config.json"]), read_safetensors(attached["model.safetensors"])
    assert read_archive(file.getvalue(), *embedded) == values.tobytes()


TINY = {"latent_dim": 2, "hidden": 5, "first_channels": 3, "max_channels": 4, "smallest_side": 2, "context_width": 4}
CASES = [
    {"activation": "relu", "likelihood": "pixels", "field": 3},
    {"activation": "silu", "likelihood": "gaussian", "field": 5, "context_depth": 1},
    {"activation": "relu", "likelihood": "bernoulli", "field": 3, "context_depth": 3},
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("steps", [None, [0.7, 0.4]])
def test_other_networks(case, steps):
    """Untrained, of one channel, without a fitted prior, with and without codes."""
    levels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 1))
    schema, config = make_items(levels.astype(np.uint8)).schema, configure(**TINY, **case)
    networks = modality_of(schema).networks.build(schema, config, 0).eval()
    grid = None if steps is None else LatentGrid(np.array(steps))
    model = FittedModel(schema=schema, config=config, **dict(networks.named_children()))
    codec = ImageCodec.of(as_stored(model), grid, schema.dtype)
    symbols = None if grid is None else grid.nearest(np.random.default_rng(1).standard_normal((2, 2)))
    tensors = {name: (each.flatten().tolist(), list(each.shape)) for name, each in networks.state_dict().items()}
    plain, z = Networks({"schema": schema.to_json(), "fit": config.to_json()}, tensors), [None, None]
    if grid is not None:
        z = read_codes(codec.encode_codes(symbols), 2, steps, standard_normal(2))
        np.testing.assert_allclose(z, grid.codes(symbols))
    assert read_elements(codec.encode_elements(levels, symbols), z, plain) == levels.tolist()


# Tables


def read_array(content: bytes, kind: pa.DataType, m: int):
    """m values, None for null, and what is left of the bytes."""
    there, content = [True] * m, content
    flag, content = content[0], content[1:]
    if flag:
        there = [bool(content[i // 8] >> i % 8 & 1) for i in range(m)]
        content = content[-(-m // 8) :]
    count = sum(there)
    if kind == pa.large_string():
        sizes, content = struct.unpack_from(f"<{count}I", content), content[4 * count :]
        values = []
        for size in sizes:
            values.append(content[:size].decode())
            content = content[size:]
    elif kind == pa.bool_():
        values = [bool(content[i // 8] >> i % 8 & 1) for i in range(count)]
        content = content[-(-count // 8) :]
    else:
        code = {pa.float64(): "d", pa.uint32(): "I"}.get(kind, "q")
        values = list(struct.unpack_from(f"<{count}{code}", content))
        content = content[struct.calcsize(code) * count :]
    left = iter(values)
    return [next(left) if seen else None for seen in there], content


def read_kept(layer: bytes, columns: pa.Schema, n: int):
    """Per column, which cells are coded, and the values of the others."""
    size = struct.unpack_from("<Q", layer)[0]
    content = pa.Codec("zstd").decompress(layer[8:], decompressed_size=size, asbytes=True)
    found = []
    for column in columns:
        how, size = struct.unpack_from("<BQ", content)
        part, content = content[9 : 9 + size], content[9 + size :]
        coded = [how == 2] * n
        if how == 1:
            coded = [bool(part[i // 8] >> i % 8 & 1) for i in range(n)]
            part = part[-(-n // 8) :]
        values, rest = read_array(part, column.type, n - sum(coded))
        if how == 3:
            values = [x % 2**column.type.bit_width for x in itertools.accumulate(values)]
        assert not rest
        found.append((coded, values))
    assert not content
    return found


class Grid:
    """Bins of a column's numbers."""

    def __init__(self, column: dict) -> None:
        self.centre, self.spread, self.step = column["centre"], column["spread"], column["step"]
        p, g = 1.0, []
        for _ in range(4096):
            p *= float.fromhex("0x1.0100802ab5577p+0")
            g.append((p - 1 / p) / 2)
        numbers = [self.centre + self.spread * x for x in [*(-x for x in reversed(g)), 0.0, *g]]
        if not self.step:
            counts = [self.place(x) for x in numbers]
        elif self.step < 1:
            counts = [math.ceil(x * round(1 / self.step)) for x in numbers]
        else:
            counts = [math.ceil(x / self.step) for x in numbers]
        self.starts = sorted(set(counts))

    @staticmethod
    def place(x: float) -> int:
        bits = struct.unpack("<q", struct.pack("<d", abs(x)))[0]
        return bits if x >= 0 else -bits

    def number(self, count: float) -> float:
        if not self.step:
            return math.copysign(struct.unpack("<d", struct.pack("<q", abs(int(count))))[0], count)
        return count / round(1 / self.step) if self.step < 1 else count * self.step

    def edges(self, layer: Layer) -> list[int]:
        values = [self.number(count - 0.5 if self.step else count) for count in self.starts]
        return [layer.round(32 * 64 * math.asinh((v - self.centre) / self.spread)) for v in values]


class Even:
    def __init__(self, symbols: int) -> None:
        self.symbols = symbols

    def start(self, j: int) -> int:
        return TOTAL * j // self.symbols


class Classes:
    def __init__(self, log_probabilities: list[float], layer: Layer) -> None:
        self.symbols = len(log_probabilities)
        self.weights = [WEIGHTS[-layer.round(max(16 * p, -299))] for p in log_probabilities]

    def start(self, j: int) -> int:
        return sum(self.weights[:j]) * (TOTAL - self.symbols) // sum(self.weights) + j


KNOTS = [-4, -2.5, -1.6, -1, -0.6, -0.3, 0, 0.3, 0.6, 1, 1.6, 2.5, 4]


class RowNetwork:
    def __init__(self, config: dict, tensors) -> None:
        self.columns, self.tensors = config["schema"]["columns"], tensors
        self.members, self.depth = config["fit"]["rows"]["members"], config["fit"]["context"]["context_depth"]
        self.numbers = [j for j in range(len(self.columns)) if not self.classes(j)]

    def classes(self, j: int) -> int:
        kind = self.columns[j]["kind"]
        return {"boolean": 2, "category": len(self.columns[j]["categories"]) + 1}.get(kind, 0)

    def scaled(self, j: int, cell: float) -> float:
        about = self.columns[j]
        return min(max(math.asinh((cell - about["centre"]) / about["spread"]), -10), 10)

    def factors(self, cells: list[float | None]) -> list[float]:
        flat, (_, k) = self.tensors["context.factors.weights"]
        noise, mean = (self.tensors[f"context.factors.{name}"][0] for name in ("log_noise", "mean"))
        matrix = [[float(a == b) for b in range(k)] + [0.0] for a in range(k)]
        for i, j in enumerate(self.numbers):
            if cells[j] is not None:
                precision, row = math.exp(-min(max(noise[i], -6), 4)), flat[i * k : i * k + k]
                for a in range(k):
                    for b in range(k):
                        matrix[a][b] += precision * row[a] * row[b]
                    matrix[a][k] += precision * row[a] * (self.scaled(j, cells[j]) - mean[i])
        for a in range(k):  # Gauss and Jordan's; the matrix is positive definite
            matrix[a] = [x / matrix[a][a] for x in matrix[a]]
            for b in range(k):
                if b != a:
                    matrix[b] = [x - matrix[b][a] * y for x, y in zip(matrix[b], matrix[a], strict=True)]
        return [row[k] for row in matrix]

    def features(self, cells: list[float | None], factors: list[float]) -> list[float]:
        found = [float(cell is not None) for cell in cells]
        for j in self.numbers:
            x = None if cells[j] is None else self.scaled(j, cells[j])
            pieces = itertools.pairwise(KNOTS)
            found += [0.0] * 13 if x is None else [x, *(min(max((x - a) / (b - a), 0), 1) for a, b in pieces)]
        for j in range(len(cells)):
            found += [float(cells[j] == c) for c in range(self.classes(j))]
        inputs = self.tensors["context.first.weight"][1][1]
        found += [1.0, 0.0, 0.0, *factors]
        return found + [0.0] * (inputs - len(found))

    def linear(self, name: str, m: int, x: list[float], outputs: range | None = None) -> list[float]:
        flat, (_, rows, columns) = self.tensors[f"context.{name}.weight"]
        bias = self.tensors[f"context.{name}.bias"][0]
        start = m * rows * columns
        return [
            sum(x[i] * flat[start + i * columns + j] for i in range(rows)) + bias[m * columns + j]
            for j in outputs or range(columns)
        ]

    def explain(self, j: int, cells: list[float | None]):
        """Log probabilities of classes; or log weights, locations and log scales."""
        factors = self.factors(cells)
        x = self.features(cells, factors)
        outputs = []
        for m in range(self.members):
            hidden = self.linear("first", m, x)
            for layer in range(self.depth - 1):
                hidden = self.linear(f"later.{layer}", m, [h / (1 + math.exp(-h)) for h in hidden])
            p = self.tensors["context.heads.linear.bias"][1][2] // len(self.columns)
            outputs.append(
                self.linear("heads.linear", m, [h / (1 + math.exp(-h)) for h in hidden], range(j * p, j * p + p))
            )
        if c := self.classes(j):
            shares = [softmax(output[15 : 15 + c]) for output in outputs]
            return ([math.log(sum(each) / self.members) for each in zip(*shares, strict=True)],)
        i, k = self.numbers.index(j), len(factors)
        row = self.tensors["context.factors.weights"][0][i * k : i * k + k]
        shift = sum(map(float.__mul__, row, factors)) + self.tensors["context.factors.mean"][0][i]
        log_weights = [math.log(w / self.members) for output in outputs for w in softmax(output[:5])]
        locations = [place + shift for output in outputs for place in output[5:10]]
        log_scales = [min(max(s, -5.5), 4) for output in outputs for s in output[10:15]]
        return [w - max(log_weights) for w in log_weights], locations, log_scales


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(x - max(logits)) for x in logits]
    return [power / sum(powers) for power in powers]


def encoded(column: dict, value) -> float | None:
    """A kept value as other columns see it."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if column["kind"] == "category":
        names = column["categories"]
        return float(names.index(value)) if value in names else float(len(names))
    return float(value)


def read_table(content: bytes, config: dict, tensors) -> dict[str, list]:
    """Lists of values by name; times as counts."""
    facts, attached, blocks = read_container(content)
    assert facts["kind"] == "table"
    columns = pa.ipc.read_schema(pa.py_buffer(zlib.decompress(attached["columns"])))
    network, found = RowNetwork(config, tensors), {name: [] for name in columns.names}
    met = set()
    for n, method, kept_layer, coded_layer, _ in blocks:
        assert method == 1
        kept, layer = read_kept(kept_layer, columns, n), Layer(coded_layer)
        rows = [[None] * len(network.columns) for _ in range(n)]
        for j, about in enumerate(network.columns):
            coded, values = kept[columns.names.index(about["name"])]
            left, popped = (
                iter(values),
                iter(read_cells(network, j, layer, [r for r, c in zip(rows, coded, strict=True) if c])),
            )
            whole_column = []
            for row, is_coded in zip(rows, coded, strict=True):
                value = next(popped if is_coded else left)
                row[j] = value if is_coded else encoded(about, value)
                if is_coded and about["kind"] == "category":
                    value = about["categories"][int(value)]
                whole_column.append(value)
            kept[columns.names.index(about["name"])] = coded, whole_column
            met |= {about["name"]} if any(coded) else set()
        assert layer.is_done()
        for name, (_, values) in zip(columns.names, kept, strict=True):
            found[name] += values
    assert met == {"kind", "height", "girth", "age", "planted", "healthy"}, "a column is never coded"
    return found


def read_cells(network: RowNetwork, j: int, layer: Layer, rows) -> list[float]:
    if not rows:
        return []
    if network.classes(j):
        return [float(c) for c in layer.pop([Classes(*network.explain(j, row), layer) for row in rows])]
    grid = Grid(network.columns[j])
    edges, batch = grid.edges(layer), []
    for row in rows:
        weights, locations, log_scales = network.explain(j, row)
        places, scales = [64 * place for place in locations], [s + math.log(64) for s in log_scales]
        weights = [*weights, -math.inf, -math.inf]
        batch.append(Mixture("logistic", len(edges) - 1, weights, places, scales, layer, edges))
    bins = layer.pop(batch)
    counts, widths = [grid.starts[b] for b in bins], [grid.starts[b + 1] - grid.starts[b] for b in bins]
    widest = max(b - a for a, b in zip(grid.starts, grid.starts[1:], strict=False))
    for digit in range(-(-(widest - 1).bit_length() // 16)):
        sizes = [min(w - 1 >> 16 * digit, 2**16 - 1) + 1 for w in widths]
        for row, place in enumerate(layer.pop([Even(size) for size in sizes])):
            counts[row] += place << 16 * digit
    return [grid.number(count) for count in counts]


def test_a_table_is_read_by_the_document_alone(table_model, trees, tmp_path):
    frame = trees[300:316].copy()
    frame.loc[301, "height"], frame.loc[302, "height"] = -0.0, math.inf
    frame.loc[303, "kind"] = "fir"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        packed = compress(table_model, frame, block_items=10)
    save(table_model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    found = read_table(packed, config, read_safetensors((tmp_path / "model" / "model.safetensors").read_bytes()))
    for name, values in frame.items():
        wanted = [None if value is None else value for value in values.tolist()]
        if name == "planted":
            wanted = [None if pd.isna(value) else value.value // 10**3 for value in values]
        for mine, theirs in zip(found[name], wanted, strict=True):
            if isinstance(theirs, float) and math.isnan(theirs):
                assert mine is None or math.isnan(mine)
            else:
                assert mine == theirs
                assert not isinstance(theirs, float) or math.copysign(1, mine) == math.copysign(1, theirs)


# Series


class Numbered:
    """The roundings of one channel."""

    def __init__(self, layer: Layer, channel: int, channels: int) -> None:
        self.layer, self.channel, self.channels, self.numbered = layer, channel, channels, 0

    def round(self, value: float) -> int:
        self.layer.numbered = self.numbered * self.channels + self.channel
        self.numbered += 1
        return self.layer.round(value)


def mean(log_weights: list[float], values: list[float]) -> float:
    return sum(math.exp(w) * x for w, x in zip(log_weights, values, strict=True))


class Numbers:
    """A form of a channel's numbers."""

    def __init__(self, about: dict, form: int) -> None:
        self.centre, self.step, self.code = about["centre"], about["step"], "d"
        if 1 <= form <= 13:
            self.step = 10.0 ** (1 - form)
        if form > 13:
            self.step, self.code = 0.0, "efd"[form - 14]
        self.bits, self.mantissa = {"e": ("h", 10), "f": ("i", 23), "d": ("q", 52)}[self.code]

    def count(self, x: float) -> int:
        if self.step:
            return round(x * round(1 / self.step) if self.step < 1 else x / self.step)
        bits = struct.unpack(f"<{self.bits}", struct.pack(f"<{self.code}", abs(x)))[0]
        return bits if x >= 0 else -bits

    def number(self, count: int) -> float:
        if self.step:
            return count / round(1 / self.step) if self.step < 1 else count * self.step
        size = struct.unpack(f"<{self.code}", struct.pack(f"<{self.bits}", abs(count)))[0]
        return size if count >= 0 else -size

    def first(self, b: int, width: int) -> int:
        """The least count of a bin."""
        if self.step:
            return b << width
        lower = math.ldexp(b, width)
        count = self.count(lower)
        return count + (self.number(count) < lower)

    def near(self, batch, numbered: Numbered):
        """Of each a bin's width, the bin of symbol 0, and the distribution; one kind of number is rounded after the other."""
        unit, told = self.step or 1.0, []
        for log_weights, places, log_scales in batch:
            told.append((log_weights, [d / unit for d in places], [s - math.log(unit) for s in log_scales]))
        finest, widths, lines, found = [0] * len(told), [], [], []
        if not self.step:
            sizes = [abs(self.centre + mean(each[0], each[1])) for each in told]
            finest = [numbered.round(math.log2(max(x, 2.0**-1022)) - 0.5) - self.mantissa for x in sizes]
        for (log_weights, _, log_scales), least in zip(told, finest, strict=True):
            sharpness = math.log2(sum(math.exp(w - s) for w, s in zip(log_weights, log_scales, strict=True)))
            most = 60 if self.step else 1000
            widths.append(max(numbered.round(max(min(-sharpness - 2, most), -1000)), least))
        for (_, differences, _), width, least in zip(told, widths, finest, strict=True):
            multiple = self.centre * round(1 / self.step) if 0 < self.step < 1 else self.centre / unit
            count = round(multiple) if self.step else multiple
            centre = math.floor(math.ldexp(count, -width))
            rest = multiple - math.ldexp(centre, width) + math.ldexp(0.5, least)
            lines.append((centre, [math.ldexp(rest + d, -width) - 0.5 for d in differences]))
        middles = [numbered.round(mean(each[0], line)) for each, (_, line) in zip(told, lines, strict=True)]
        for (weights, _, log_scales), width, (centre, line), middle in zip(told, widths, lines, middles, strict=True):
            mixture = Mixture(
                "logistic",
                1 << 14,
                [*(w - max(weights) for w in weights), -math.inf, -math.inf],
                [place - middle + 8192 for place in line],
                [s - width * math.log(2) for s in log_scales],
                numbered,
            )
            found.append((width, centre + middle - 8192, mixture))
        return found

    def pop(self, batch, layer: Layer) -> list[float]:
        symbols = layer.pop([mixture for _, _, mixture in batch])
        bins = [start + symbol for (_, start, _), symbol in zip(batch, symbols, strict=True)]
        counts = [self.first(b, width) for b, (width, _, _) in zip(bins, batch, strict=True)]
        far = [i for i, symbol in enumerate(symbols) if symbol in (0, 16383)]
        left = {
            i: max(self.first(bins[i] + 1, batch[i][0]) - counts[i] - 1, 0) for i in range(len(bins)) if i not in far
        }
        shift = dict.fromkeys(left, 0)
        while large := [i for i in left if left[i] >= 1 << 28]:
            for i, digit in zip(large, layer.pop([Even(1 << 16)] * len(large)), strict=True):
                counts[i] += digit << shift[i]
                left[i] >>= 16
                shift[i] += 16
        last = [i for i in left if left[i]]
        for i, digit in zip(last, layer.pop([Even(left[i] + 1) for i in last]), strict=True):
            counts[i] += digit << shift[i]
        plain = [0] * len(far)
        for digit in range(4):
            for at, part in enumerate(layer.pop([Even(1 << 16)] * len(far))):
                plain[at] |= part << 16 * digit
        for i, count in zip(far, plain, strict=True):
            counts[i] = count - (count >> 63 << 64)
        return [self.number(count) for count in counts]


class SeriesNetwork:
    def __init__(self, config: dict, tensors) -> None:
        schema = config["schema"]
        self.columns, self.steps = schema["channels"]["columns"], schema["steps"]
        self.overlaps, self.tensors = schema["stride"] < self.steps, tensors
        self.layers = max(math.ceil(math.log2(max(config["fit"]["series"]["reach"], 2))), 1)
        self.mean, self.own, self.weights = (
            tensors[f"context.autocovariance.{name}"][0] for name in ("mean", "own", "regression")
        )
        assert tensors["context.autocovariance.own"][1][0] == 1, "one group of channels"

    def scaled(self, channel: int, x: float) -> float:
        about = self.columns[channel]
        low, high, x = (math.asinh((v - about["centre"]) / about["spread"]) for v in (about["low"], about["high"], x))
        return min(max(x, low - 9 * (high - low)), high + 9 * (high - low))

    def convolved(self, name: str, x: list[list[float]], dilation: int) -> list[list[float]]:
        flat, (outputs, inputs, taps) = self.tensors[f"{name}.weight"]
        bias, found = self.tensors[f"{name}.bias"][0], []
        for t in range(len(x)):
            seen = [(k, t - (taps - 1 - k) * dilation) for k in range(taps) if t >= (taps - 1 - k) * dilation]
            found.append(
                [
                    bias[o] + sum(x[at][i] * flat[(o * inputs + i) * taps + k] for k, at in seen for i in range(inputs))
                    for o in range(outputs)
                ]
            )
        return found


class Stretch:
    """What is known of one stretch in its window, value by value: deviations from the mean, and whether they are known."""

    def __init__(self, network: SeriesNetwork) -> None:
        self.network, self.values, self.seen = network, [], []

    def expected(self, number: int) -> float:
        size = self.network.steps * len(self.network.columns)
        return sum(self.network.weights[number * size + j] * self.values[j] for j in range(number))

    def begin(self) -> None:
        """A step; before it, if the window is full, the next one."""
        network, c = self.network, len(self.network.columns)
        if len(self.values) == network.steps * c:
            kept = network.steps // 2 * c if network.overlaps else 0
            self.values, self.seen = self.values[len(self.values) - kept :], self.seen[len(self.seen) - kept :]
        t, shown = len(self.values) // c, []
        for step in range(t):
            numbers = range(step * c, step * c + c)
            stds = [math.sqrt(network.own[j]) for j in numbers]
            off = [
                min(max((self.values[j] - self.expected(j)) / std, -6), 6) * self.seen[j]
                for j, std in zip(numbers, stds, strict=True)
            ]
            shown.append([*off, *(float(self.seen[j]) for j in numbers), *(math.log(4 * std) for std in stds)])
        inputs, x = network.tensors["context.trunks.0.first.weight"][1][1], []
        for step, before in enumerate([[0.0] * (3 * c), *shown]):
            angles = [times * math.pi * step / (network.steps - 1) for times in (0.5, 1, 2, 4)]
            waves = [part(angle) for angle in angles for part in (math.sin, math.cos)]
            x.append([*before, *[0.0] * (inputs - 3 * c - len(waves)), *waves])
        hidden = network.convolved("context.trunks.0.first", x, 1)

        def silu(rows):
            return [[h / (1 + math.exp(-h)) for h in row] for row in rows]

        for layer in range(network.layers):
            more = network.convolved(f"context.trunks.0.layers.{layer}", silu(hidden), 2**layer)
            hidden = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(hidden, more, strict=True)]
        self.told = network.convolved("context.heads.0.linear", silu(hidden[-1:]), 1)[0]

    def explain(self, channel: int):
        """Log weights, differences from the centre and log scales, in the channel's units."""
        number, about = len(self.values), self.network.columns[channel]
        std = math.sqrt(self.network.own[number])
        about_mean = self.network.mean[number] + self.expected(number)
        logits, locations, log_scales = (self.told[15 * channel + 5 * k : 15 * channel + 5 * k + 5] for k in range(3))
        places = [min(max(about_mean + std * place, -20), 20) for place in locations]
        scales = [min(max(s + math.log(std), -9), 4) for s in log_scales]
        return (
            [math.log(share) for share in softmax(logits)],
            [about["spread"] * math.sinh(place) for place in places],
            [s + math.log(about["spread"] * math.cosh(place)) for s, place in zip(scales, places, strict=True)],
        )

    def know(self, channel: int, x: float | None) -> None:
        known = x is not None and math.isfinite(x)
        number = len(self.values)
        mean = self.network.mean[number]
        self.values.append(self.network.scaled(channel, x) - mean if known else self.expected(number))
        self.seen.append(known)


def read_series(content: bytes, config: dict, tensors) -> dict[str, list]:
    """Lists of values by name."""
    facts, attached, blocks = read_container(content)
    assert facts["kind"] == "series"
    columns = pa.ipc.read_schema(pa.py_buffer(zlib.decompress(attached["columns"])))
    network, found = SeriesNetwork(config, tensors), {name: [] for name in columns.names}
    names, c = [about["name"] for about in network.columns], len(network.columns)
    for n, method, kept_layer, coded_layer, _ in blocks:
        assert method == 1
        kept, layer = dict(zip(columns.names, read_kept(kept_layer, columns, n), strict=True)), Layer(coded_layer[c:])
        numbers = [Numbers(about, form) for about, form in zip(network.columns, coded_layer[:c], strict=True)]
        numbered = [Numbered(layer, channel, c) for channel in range(c)]
        table = {}
        for name in names:
            left = iter(kept[name][1])
            table[name] = [None if coded else next(left) for coded in kept[name][0]]
        ids = kept[facts["ids"]][1] if facts["ids"] else [0] * n
        longest, stretches = 1024 if network.overlaps else network.steps, []
        for each in dict.fromkeys(ids):
            rows = [row for row in range(n) if ids[row] == each]
            stretches += [rows[first : first + longest] for first in range(0, len(rows), longest)]
        stretches.sort(key=len, reverse=True)
        lanes = max(2**15 // network.steps, 1)
        for group in (stretches[first : first + lanes] for first in range(0, len(stretches), lanes)):
            states = [Stretch(network) for _ in group]
            for step in range(len(group[0])):
                here = [(state, rows[step]) for state, rows in zip(states, group, strict=True) if len(rows) > step]
                for state, _ in here:
                    state.begin()
                for channel, name in enumerate(names):
                    coded = [(state, row) for state, row in here if kept[name][0][row]]
                    batch = numbers[channel].near([s.explain(channel) for s, _ in coded], numbered[channel])
                    for (_, row), x in zip(coded, numbers[channel].pop(batch, layer), strict=True):
                        table[name][row] = x
                    for state, row in here:
                        state.know(channel, table[name][row])
        assert layer.is_done()
        assert all(any(kept[name][0]) for name in names), "a channel is never coded"
        for name in columns.names:
            found[name] += table[name] if name in table else kept[name][1]
    return found


@pytest.mark.parametrize("whole_series", [False, True])
def test_series_are_read_by_the_document_alone(series_settings, tmp_path, monkeypatch, whole_series):
    monkeypatch.setattr(rounding, "GUARD", 0.02)  # so that there are hints
    rng = np.random.default_rng(0)
    along = np.arange(240) / 4
    narrow = (np.sin(along) + 0.1 * rng.normal(size=240)).astype(np.float32)
    both = np.column_stack((narrow.astype(float), np.round(5 * np.cos(along), 2)))
    series = both.reshape(20, 12, 2) if whole_series else both[None]
    few = {**series_settings, "epochs": 1, "window": None if whole_series else 16, "reach": 4}
    model = fit(series, kind="series", **few)
    assert model.schema.overlaps is not whole_series
    some = [both[:45].copy(), both[60:70].copy()]
    some[0][7, 0], some[0][20:23, 1], some[0][30] = 1e9, math.nan, (-0.0, 0.125)
    packed = compress(model, some, block_items=40)
    save(model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    found = read_series(packed, config, read_safetensors((tmp_path / "model" / "model.safetensors").read_bytes()))
    assert found["series"] == [0] * 45 + [1] * 10
    for name, wanted in zip(("x0", "x1"), np.concatenate(some).T, strict=True):
        assert struct.pack("<55d", *found[name]) == wanted.tobytes()


# Pictures


class Plane:
    """A plane of a picture, pixel by pixel; `before` are those that are known, the last one first."""

    def __init__(self, shape: tuple[int, int], levels: int, before: list[Plane], coder: dict[str, list]) -> None:
        (self.height, self.width), self.levels, self.before, self.coder = shape, levels, before, coder
        self.values, self.errors = {}, {}
        near = nearest(6 if before else 8)
        self.taps = [(0, *place) for place in near] + [(1, *place) for place in ((0, 0), (0, -1), (-1, 0)) if before]
        self.taps += [(2, 0, 0)] * (len(before) > 1)
        self.planes = [self, *before]

    def at(self, kept: dict, r: int, c: int) -> float:
        """A value or an error, or what stands for it where there is none."""
        number = kept is self.errors
        r = min(r, self.height - 1)
        if r < 0 or (r == 0 and c < 0 and (0, self.width - 1) not in kept):
            return self.coder["start"][number]
        if (r, self.width - 1) in kept:
            return kept[r, min(max(c, 0), self.width - 1)]
        return kept[r, c] if c >= 0 else kept[r - 1, 0]

    def v(self, r: int, c: int) -> float:
        return self.at(self.values, r, c)

    def e(self, r: int, c: int) -> float:
        return self.at(self.errors, r, c)

    def mean(self, r: int, c: int) -> float:
        near = 2 * (self.v(r, c - 1) + self.v(r - 1, c))
        return (near + (self.v(r - 1, c - 1) + self.v(r - 1, c + 1))) / 6

    def scale(self, r: int, c: int) -> float:
        w, n, nw, ne, ww, nn = (abs(self.e(r + i, c + j)) for i, j in AROUND)
        return (2 * (w + n) + (nw + ne) + 0.5 * (ww + nn)) / 7 + 0.3

    def expected(self, r: int, c: int, s: float) -> float:
        means = [plane.mean(r, c) for plane in self.planes]
        sights = lambda i, j: [self.planes[k].v(i + a, j + b) - means[k] for k, a, b in self.taps]  # noqa: E731
        x, n, total = sights(r, c), len(self.taps), 0.0
        matrix, vector = [[0.0] * n for _ in range(n)], [0.0] * n
        for i, j in ((i, j) for i in range(-6, 1) for j in range(-6, 7) if (i, j) < (0, 0)):
            if r + i >= 0 and 0 <= c + j < self.width:
                seen, distance = sights(r + i, c + j), 4 * s * s
                for one, here, (_, a, b) in zip(seen, x, self.taps, strict=True):
                    distance += (one - here) * (one - here) * (1 / (1 + a * a + b * b))
                weight = 1 / math.sqrt(math.sqrt(i * i + j * j)) / distance
                total += weight
                for a in range(n):
                    vector[a] += weight * seen[a] * (self.v(r + i, c + j) - means[0])
                    for b in range(n):
                        matrix[a][b] += weight * seen[a] * seen[b]
        ridge = 2 * s * s * total
        for a in range(n):
            matrix[a][a] += ridge
            vector[a] += ridge * self.coder["prior"][a]
        found = means[0]
        for b, here in zip(solution(matrix, vector, 1e-9 * ridge + 1e-30), x, strict=True):
            found += b * here
        return min(max(found, 0.0), self.levels - 1.0)

    def features(self, r: int, c: int, p: float, s: float, most: int) -> list[float]:
        by, v, e, top = 1 / s, self.v, self.e, self.levels - 1.0
        w, n, nw, ne = (v(r + i, c + j) for i, j in AROUND[:4])
        found = [(v(r + i, c + j) - p) * by for i, j in nearest(26)]
        found += [(sorted((w, n, w + n - nw))[1] - p) * by, (self.mean(r, c) - p) * by]
        found += [e(r + i, c + j) * by for i, j in AROUND]
        wide = 0.0
        for i, j in ((i, j) for i in range(-4, 1) for j in range(-4, 5) if (i, j) < (0, 0)):
            wide += abs(e(r + i, c + j))
        steep = abs(w - nw) + abs(n - nw) + abs(n - ne)
        found += [lg(s), lg(steep * by + 0.25), lg(wide / 40 * by + 0.125)]
        found += [2 * p / top - 1, lg(p + 1) - 4, lg(top - p + 1) - 4]
        for plane in self.before:
            for i, j in ((0, 0), (0, -1), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
                found += [(plane.v(r + i, c + j) - plane.mean(r, c)) * by, plane.e(r + i, c + j) * by]
        return [min(max(x, -8.0), 8.0) for x in found] + [0.0] * (most - len(found))

    def mixture(self, r: int, c: int, p: float, s: float) -> Mixture:
        x = self.features(r, c, p, s, len(self.coder["first"]))
        for name in ("first", "second", "third"):
            out = list(self.coder[f"{name}_bias"])
            for one, row in zip(x, self.coder[name], strict=True):
                out = [o + one * w for o, w in zip(out, row, strict=True)]
            x = [max(o, 0.0) for o in out]
        found = Mixture("logistic", self.levels, [], [], [], None)
        found.weights = [WEIGHTS[min(math.floor((max(out[:6]) - o) * 16 + 0.5), 299)] for o in out[:6]]
        found.locations = [math.floor((p + s * o) * 32 + 0.5) for o in out[6:10]]
        steps = (math.floor((0.6931471805599453 * lg(s) + o) * 16 + 0.5) for o in out[10:])
        found.scales = [SCALES[min(max(step, -64), 224) + 64] for step in steps]
        return found

    def read(self, layer: Layer) -> list[list[int]]:
        for r, c in itertools.product(range(self.height), range(self.width)):
            s = self.scale(r, c)
            p = self.expected(r, c, s)
            (symbol,) = layer.pop([self.mixture(r, c, p, s)])
            self.values[r, c], self.errors[r, c] = float(symbol), symbol - p
        return [[int(self.values[r, c]) for c in range(self.width)] for r in range(self.height)]


AROUND = (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0)


def nearest(k: int) -> list[tuple[int, int]]:
    places = [(i, j) for i in range(-9, 1) for j in range(-9, 10) if (i, j) < (0, 0)]
    return sorted(places, key=lambda place: (place[0] ** 2 + place[1] ** 2, -place[0], place[1]))[:k]


def lg(x: float) -> float:
    part, exponent = math.frexp(x)
    return 2 * part - 2 + exponent


def solution(a: list[list[float]], b: list[float], least: float) -> list[float]:
    """By L D Lᵀ."""
    n = len(b)
    for j in range(n):
        for i in range(j, n):
            for k in range(j):
                a[i][j] -= a[i][k] * a[j][k] * a[k][k]
        a[j][j] = max(a[j][j], least)
        for i in range(j + 1, n):
            a[i][j] /= a[j][j]
    for i in range(n):
        for k in range(i):
            b[i] -= a[i][k] * b[k]
    for i in reversed(range(n)):
        b[i] /= a[i][i]
        for k in range(i + 1, n):
            b[i] -= a[k][i] * b[k]
    return b


@pytest.mark.parametrize(("shape", "levels"), [((8, 9, 1), 256), ((5, 6, 3), 4096)])
def test_pictures_are_read_by_the_document_alone(shape, levels):
    rng, channels = np.random.default_rng(0), shape[2]
    sizes = {
        "start": (2,),
        "prior": (count_taps(channels),),
        "first": (count_features(channels), 6),
        "first_bias": (6,),
    }
    sizes |= {"second": (6, 6), "second_bias": (6,), "third": (6, OUTPUTS), "third_bias": (OUTPUTS,)}
    arrays = {name: rng.normal(0, 0.3, (channels, *size)).astype(np.float32) for name, size in sizes.items()}
    picture = (np.add.outer(*map(np.arange, shape[:2]))[..., None] * 9 + rng.integers(0, 40, shape)) % levels
    layer, planes = Layer(PixelCoder(**arrays).encode(picture, levels)), list[Plane]()
    for number, channel in enumerate((1, 0, 2) if channels == 3 else range(channels)):
        coder = {name: array[number].tolist() for name, array in arrays.items()}
        plane = Plane(shape[:2], levels, planes[::-1][:2], coder)
        assert plane.read(layer) == picture[..., channel].tolist()
        planes.append(plane)
    assert layer.is_done()
