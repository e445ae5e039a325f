"""What the context decoder sees of an item, element by element, and what it can't see."""

from __future__ import annotations

import pytest
import torch

from fivefold.config import Conditioning, ContextConfig
from fivefold.images import context
from fivefold.images.context import ImageContext
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import MAPS
from fivefold.model.context import as_items, by_element
from fivefold.model.likelihoods import DiscretizedLogisticMixture, Gaussian
from fivefold.model.vae import CodeFeatures

HEIGHT, WIDTH, COARSE = 6, 8, 4

every_window = pytest.mark.parametrize("window", Conditioning)
some_channels = pytest.mark.parametrize("channels", [1, 3])


def make(channels: int = 1, side: int = 5, dtype: str = "uint8", **fields) -> ImageContext:
    """A context decoder with random weights."""
    schema = ImageSchema(HEIGHT, WIDTH, channels, dtype, 0.0, 255.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ImageContext(schema, ContextConfig(**{"field": side, "context_width": 32, **fields}), COARSE)


def random_items(n: int, channels: int, seed: int = 0, height: int = HEIGHT, width: int = WIDTH):
    """Items, some of whose elements are black, a random visibility, and features of its codes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand((n, channels, height, width), generator=generator)
    x[torch.rand(x.shape, generator=generator) < 0.2] = 0
    visible = torch.rand(x.shape, generator=generator) < 0.6
    coarse = torch.randn((n, COARSE, (height + 1) // 2, (width + 1) // 2), generator=generator)
    return x, visible, CodeFeatures(coarse, torch.rand(x.shape, generator=generator))


def everything(network, around):
    """The parameters of all elements' distributions, `(n, size, parameters)`."""
    n, size = len(around), around.size
    items, elements = torch.arange(n).repeat_interleave(size), torch.arange(size).repeat(n)
    with torch.no_grad():
        return network(around, items, elements).parameters.view(n, size, -1)


def told(network, x, visible, window, z_features=None, uses_z=None):
    return everything(network, network.surroundings(x, visible, window, z_features, uses_z))


def number(row: int, column: int, channel: int, channels: int) -> int:
    """The number of an element in raster order, channels last."""
    return (row * WIDTH + column) * channels + channel


def to_be_seen(window: Conditioning, element: int, side: int, channels: int) -> set[int]:
    """The elements that an element's window is to show, from the definition."""
    row, column, reach = element // channels // WIDTH, element // channels % WIDTH, side // 2
    shown = {
        number(r, c, channel, channels)
        for r in range(max(0, row - reach), min(HEIGHT, row + reach + 1))
        for c in range(max(0, column - reach), min(WIDTH, column + reach + 1))
        for channel in range(channels)
    }
    if window is Conditioning.CAUSAL:
        return {other for other in shown if other < element}
    return shown - {element} if window is Conditioning.MISSING else shown


def seen(network, window, channels, change) -> list[set[int]]:
    """For each element those whose `change` moves its distribution."""
    size = HEIGHT * WIDTH * channels
    x = 0.2 + 0.6 * torch.rand((1, channels, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1))
    flat, visible = by_element(x).repeat(size, 1), torch.ones((size, size), dtype=torch.bool)
    place = torch.arange(size)
    change(flat, visible, place)
    like = x.expand(size, -1, -1, -1)
    before = told(network, x, torch.ones_like(x, dtype=torch.bool), window)
    moved = (told(network, as_items(flat, like), as_items(visible, like), window) != before).any(2)
    return [set(moved[:, element].nonzero()[:, 0].tolist()) for element in range(size)]


def another_value(x, visible, place):
    x[place, place] = 1 - x[place, place]


def another_visibility(x, visible, place):
    visible[place, place] = False


@every_window
@some_channels
@pytest.mark.parametrize("side", [1, 5])
@pytest.mark.parametrize("change", [another_value, another_visibility])
def test_an_element_sees_its_window_and_nothing_else(window, channels, side, change):
    """Causal windows show neither the present nor the future; missing elements never see themselves, noisy ones do."""
    found = seen(make(channels, side), window, channels, change)
    assert found == [to_be_seen(window, element, side, channels) for element in range(len(found))]


@some_channels
def test_later_channels_of_a_pixel_see_the_earlier_ones(channels):
    found = seen(make(channels), Conditioning.CAUSAL, channels, another_value)
    for channel in range(channels):
        element = number(3, 4, channel, channels)
        own_pixel = {number(3, 4, other, channels) for other in range(channels)}
        assert found[element] & own_pixel == {number(3, 4, other, channels) for other in range(channel)}


@every_window
@some_channels
@pytest.mark.parametrize("uses_z", [True, False])
def test_what_stands_at_hidden_elements_does_not_matter(window, channels, uses_z):
    x, visible, z_features = random_items(3, channels)
    z_features = z_features if uses_z else None
    network = make(channels)
    other = torch.where(visible, x, 1 - x)
    assert torch.equal(told(network, x, visible, window, z_features), told(network, other, visible, window, z_features))
    assert not torch.equal(
        told(network, x, ~visible, window, z_features), told(network, other, ~visible, window, z_features)
    )


def showing_everything(patch):
    patch.setattr(context, "_mask", lambda *_: None)


def showing_the_present(patch):
    mask = context._mask

    def shown(window, side, channels, like):
        cells = mask(window, side, channels, like).view(channels, -1, MAPS * channels)
        cells[:, side * side // 2] = 1
        return cells.flatten(1)

    patch.setattr(context, "_mask", shown)


def hiding_a_neighbour(patch):
    mask = context._mask

    def shown(window, side, channels, like):
        cells = mask(window, side, channels, like).view(channels, -1, MAPS * channels)
        cells[:, side * side // 2 - 1] = 0
        return cells.flatten(1)

    patch.setattr(context, "_mask", shown)


@pytest.mark.parametrize("window", [Conditioning.CAUSAL, Conditioning.MISSING])
@some_channels
@pytest.mark.parametrize("mutant", [showing_everything, showing_the_present, hiding_a_neighbour])
def test_a_wrong_window_is_found_out(window, channels, mutant, monkeypatch):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        test_an_element_sees_its_window_and_nothing_else(window, channels, 5, another_value)


@every_window
def test_showing_hidden_elements_is_found_out(window, monkeypatch):
    surroundings = ImageContext.surroundings
    monkeypatch.setattr(
        ImageContext,
        "surroundings",
        lambda self, x, visible, *others: surroundings(self, x, torch.ones_like(visible), *others),
    )
    with pytest.raises(AssertionError):
        test_what_stands_at_hidden_elements_does_not_matter(window, 1, True)


@every_window
def test_black_is_not_nearly_black(window):
    """The low end has a map of its own: the step to it is no small one."""
    network, visible = make(), torch.ones((1, 1, HEIGHT, WIDTH), dtype=torch.bool)
    black, nearly, grey = (
        told(network, torch.full((1, 1, HEIGHT, WIDTH), v), visible, window) for v in (0, 1e-6, 2e-6)
    )
    element = number(3, 4, 0, 1)
    assert (black - nearly)[0, element].abs().max() > 1e-2
    assert (grey - nearly)[0, element].abs().max() < 1e-4


@every_window
def test_the_highest_values_are_told_apart(window):
    """A step near the high end moves more than one in the middle: it has maps of its own."""
    network, visible = make(), torch.ones((1, 1, HEIGHT, WIDTH), dtype=torch.bool)
    lower, upper, white, middle, above = (
        told(network, torch.full((1, 1, HEIGHT, WIDTH), v / 255), visible, window)[0, number(3, 4, 0, 1)]
        for v in (253, 254, 255, 127, 128)
    )
    step = (above - middle).norm()
    assert (upper - lower).norm() > 3 * step
    assert (white - upper).norm() > 3 * step


@every_window
@some_channels
def test_put_is_as_if_it_had_been_visible(window, channels):
    x, visible, z_features = random_items(3, channels)
    items = torch.arange(3).repeat_interleave(10)
    place = torch.randperm(HEIGHT * WIDTH, generator=torch.Generator().manual_seed(6))[:10].repeat(3)
    values = random_items(30, 1, seed=5)[0][:, 0, 0, 0]
    values[1] = 254 / 255
    assert (values == 0).any()
    flat, shown = by_element(x).clone(), by_element(visible).clone()
    flat[items, place], shown[items, place] = values, True
    network = make(channels)
    around, untouched = network.surroundings(x, visible, window, z_features), x.clone()
    before = everything(network, around)
    around.put(items, place, values)
    after = everything(network, around)
    assert torch.equal(after, told(network, as_items(flat, x), as_items(shown, x), window, z_features))
    assert not torch.equal(after, before)
    assert torch.equal(x, untouched), "the items themselves were changed"


@every_window
@some_channels
def test_without_a_guide_z_does_not_matter(window, channels):
    x, visible, z_features = random_items(4, channels)
    other = random_items(4, channels, seed=1)[2]
    network = make(channels)
    uses_z = torch.tensor([True, False, True, False])
    one, two = (told(network, x, visible, window, each, uses_z) for each in (z_features, other))
    blind = told(network, x, visible, window)
    assert torch.equal(one[1], two[1])
    assert torch.equal(one[3], two[3])
    assert torch.equal(one[[1, 3]], blind[[1, 3]])
    for item in (0, 2):
        assert (one[item] != two[item]).any(1).all()
        assert (one[item] != blind[item]).any(1).all()
    assert torch.equal(told(network, x, visible, window, z_features)[uses_z], one[uses_z])


def test_knowing_z_is_not_the_same_as_a_z_of_zeros():
    x, visible, z_features = random_items(1, 1)
    zeros = CodeFeatures(torch.zeros_like(z_features.coarse), torch.zeros_like(z_features.mean))
    network = make()
    moved = told(network, x, visible, Conditioning.CAUSAL, zeros) != told(network, x, visible, Conditioning.CAUSAL)
    assert moved.any(2).all()


@some_channels
def test_z_tells_an_element_about_its_own_place(channels):
    """The coarse map by the cell that it lies in, the mean item by the 5×5 places around it."""
    x, visible, z_features = random_items(1, channels)
    network = make(channels)
    before = told(network, x, visible, Conditioning.CAUSAL, z_features)[0]
    coarse, mean = z_features.coarse.clone(), z_features.mean.clone()
    coarse[:, 0, 1, 2] += 1
    mean[:, -1, 1, 5] += 1
    for changed, rows, columns in (
        (CodeFeatures(coarse, z_features.mean), (2, 3), (4, 5)),
        (CodeFeatures(z_features.coarse, mean), range(4), range(3, 8)),
    ):
        moved = (told(network, x, visible, Conditioning.CAUSAL, changed)[0] != before).any(1)
        expected = {number(r, c, channel, channels) for r in rows for c in columns for channel in range(channels)}
        assert set(moved.nonzero()[:, 0].tolist()) == expected


def test_elements_are_told_where_they_are():
    """Nothing else tells them apart here: all is hidden, and there are no features of z."""
    x = torch.zeros(1, 3, HEIGHT, WIDTH)
    parameters = told(make(3), x, torch.zeros_like(x, dtype=torch.bool), Conditioning.MISSING)[0]
    assert len(parameters.unique(dim=0)) == 3 * HEIGHT * WIDTH


def test_each_window_is_read_its_own_way():
    x, _, z_features = random_items(1, 1)
    nothing = torch.zeros_like(x, dtype=torch.bool)
    one, two, three = (told(make(), x, nothing, window, z_features) for window in Conditioning)
    for first, second in ((one, two), (two, three), (one, three)):
        assert not torch.equal(first, second)


@some_channels
def test_elements_are_numbered_in_raster_order_channels_last(channels):
    x, visible, _ = random_items(2, channels)
    around = make(channels).surroundings(x, visible, Conditioning.NOISY, None)
    assert len(around) == 2
    assert around.size == x[0].numel()
    elements = torch.arange(around.size)
    row, column, channel = around.place(elements)
    assert torch.equal(by_element(x), x[:, channel, row, column])
    assert torch.equal(elements, (row * WIDTH + column) * channels + channel)
    assert torch.equal(as_items(by_element(x), x), x)


def test_items_keep_their_own_windows():
    x, visible, z_features = random_items(3, 3)
    network = make(3)
    together = told(network, x, visible, Conditioning.CAUSAL, z_features)
    for item in range(3):
        rows = slice(item, item + 1)
        alone = told(
            network,
            x[rows],
            visible[rows],
            Conditioning.CAUSAL,
            CodeFeatures(z_features.coarse[rows], z_features.mean[rows]),
        )
        torch.testing.assert_close(together[rows], alone)


@every_window
@pytest.mark.parametrize("side", [1, 3, 11])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 2)])
@some_channels
def test_any_size(window, side, height, width, channels):
    x, visible, z_features = random_items(2, channels, height=height, width=width)
    parameters = told(make(channels, side), x, visible, window, z_features)
    assert parameters.shape[:2] == (2, channels * height * width)
    assert parameters.isfinite().all()


@pytest.mark.parametrize(("dtype", "family"), [("uint8", DiscretizedLogisticMixture), ("float32", Gaussian)])
def test_family_follows_from_the_data(dtype, family):
    x, visible, z_features = random_items(2, 1)
    network = make(dtype=dtype)
    around = network.surroundings(x, visible, Conditioning.CAUSAL, z_features)
    likelihood = network(around, torch.tensor([0, 1, 1]), torch.tensor([3, 3, 7]))
    assert isinstance(likelihood, family)
    assert likelihood.levels == (256 if dtype == "uint8" else None)
    assert likelihood.mean.shape == (3, 1, 1, 1)


@pytest.mark.parametrize(("depth", "hidden"), [(1, 1), (3, 3)])
def test_depth_and_width(depth, hidden):
    network = make(context_depth=depth, context_width=24)
    for window in Conditioning:
        layers = [layer for layer in network.layers[window] if isinstance(layer, torch.nn.Linear)]
        assert [layer.out_features for layer in layers[:-1]] == [24] * hidden
        assert layers[-1].out_features == DiscretizedLogisticMixture.parameters_per_element
