"""Which data sets there are: what each is, where it comes from, and whether it is on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torsor.data import _bpa, _mnist, _molecules, _normals, _pedestrians, _qm9
from torsor.data._cache import cache_folder
from torsor.data._chirality import mirror_images, tetris, triple_product
from torsor.data._digits import digits
from torsor.data._graphs import graph8c
from torsor.data._graphs_exp import exp_graphs
from torsor.data._graphs_regular import sr25
from torsor.data._mnist import mnist
from torsor.data._molecules import acac, bpa
from torsor.data._nbody import cached_files, nbody
from torsor.data._normals import ABCMeshes, abc_folder, normals
from torsor.data._pedestrians import eth_ucy_folder, pedestrians
from torsor.data._qm9 import qm9, qm9_folder
from torsor.data._samples import Dataset
from torsor.data._warped_digits import affnist, affnist_wide, homnist


@dataclass(frozen=True)
class Source:
    """A data set by name.

    Arguments:
        name: the word for it.
        what: what it is, in a sentence.
        shapes: of one batch.
        units: of its numbers.
        licence: what one may do with it.
        origin: where it comes from.
        how: what to do to have it.
        get: gives it with its default arguments; generated data are simulated if need be.
        folder: where its files are or would be; None where it needs none.
        files: the files that make it complete.
    """

    name: str
    what: str
    shapes: str
    units: str
    licence: str
    origin: str
    how: str
    get: Callable[[], Dataset]
    folder: Callable[[], Path] | None = None
    files: tuple[str, ...] = ()

    @property
    def present(self) -> bool:
        """Whether it can be had at once."""
        path = self.path
        return self.folder is None or (path is not None and all((path / name).is_file() for name in self.files))

    @property
    def path(self) -> Path | None:
        """Where its files are or would be; None where it needs none, or where nobody has said yet."""
        if self.folder is None:
            return None
        try:
            return self.folder()
        except FileNotFoundError:
            return None


def sources() -> dict[str, Source]:
    """All data sets by name.

    >>> from torsor import data
    >>> list(data.sources())
    ['nbody', 'nbody-clean', 'digits', 'mnist', 'affnist', 'affnist-wide', 'homnist', 'normals', 'abc', 'pedestrians',
     '3bpa-xtb', '3bpa', 'acac', 'qm9', 'triple-product', 'mirror-images', 'tetris', 'graph8c', 'exp', 'sr25']
    """
    particles = "positions, velocities (B, 5, 3), charges (B, 5, 1) -> positions (B, 5, 3)"
    bpa_shapes = "positions (B, 27, 3), species (B, 27) -> energy (B, 1), forces (B, 27, 3)"
    entries = (
        Source(
            "nbody",
            "five charged particles in space: the published benchmark, whose clipped forces break rotation symmetry",
            particles,
            "dimensionless",
            "none needed: generated",
            "generated, draw by draw as Satorras et al. 2021 (arXiv 2102.09844)",
            "simulated on first use, in seconds",
            nbody,
            cache_folder,
            cached_files("egnn"),
        ),
        Source(
            "nbody-clean",
            "the same systems without clipping, close encounters resolved: E(3) symmetric to rounding",
            particles,
            "dimensionless",
            "none needed: generated",
            "generated",
            "simulated on first use, in a minute or two",
            lambda: nbody("clean"),
            cache_folder,
            cached_files("clean"),
        ),
        Source(
            "digits",
            "handwritten digits on 8 x 8 pixels, upright to learn from and turned to test on",
            "image (B, 1, 12, 12) -> class (B,)",
            "grey value 0 to 1",
            "CC BY 4.0",
            "Alpaydin, Kaynak 1998 (doi 10.24432/C50P49), in scikit-learn",
            "comes with scikit-learn",
            digits,
        ),
        Source(
            "mnist",
            "handwritten digits on 28 x 28 pixels, upright",
            "image (B, 1, 28, 28) -> class (B,)",
            "grey value 0 to 1",
            _mnist.LICENCES["mnist"],
            _mnist.ORIGINS["mnist"],
            _mnist.HOW_TO_GET,
            mnist,
            _mnist.folder,
            (_mnist.FILE,),
        ),
        *(
            Source(
                name,
                what,
                "image (B, 1, 40, 40) -> class (B,)",
                "grey value 0 to 1",
                _mnist.LICENCES["mnist"],
                f"{made}, from {_mnist.ORIGINS['mnist']}",
                f'{_mnist.HOW_TO_GET}; made on first use, in a second, and with source="digits" without MNIST',
                get,
                _mnist.folder,
                (_mnist.FILE,),
            )
            for name, what, made, get in (
                (
                    "affnist",
                    "handwritten digits, centred to learn from and moved by affine maps to test on",
                    "made as affNIST (Tieleman 2013)",
                    affnist,
                ),
                (
                    "affnist-wide",
                    "the same with all rotations and such stretches that 11 of 100 maps have no real logarithm",
                    "generated",
                    affnist_wide,
                ),
                (
                    "homnist",
                    "handwritten digits, centred to learn from and moved by homographies to test on",
                    "made as homNIST (MacDonald et al. 2022, arXiv 2111.08251)",
                    homnist,
                ),
            )
        ),
        Source(
            "normals",
            "points on generated solids, of ten families, and the normal of the surface at each",
            "points (B, 256, 3) -> lines (B, 256, 3)",
            "the root mean square radius of a cloud",
            "none needed: generated",
            "generated",
            "made on first use, in a second",
            normals,
            cache_folder,
            _normals.cached_files(),
        ),
        Source(
            "abc",
            "points on CAD models, and the normal of the surface at each",
            "points (B, 512, 3) -> lines (B, 512, 3)",
            "the root mean square radius of a cloud",
            "that of the single models",
            "Koch et al. 2019 (arXiv 1812.06216)",
            _normals.HOW_TO_GET_ABC,
            ABCMeshes,
            abc_folder,
            _normals.ABC_FILES,
        ),
        Source(
            "pedestrians",
            "people walking in five places, seen from above; one place is kept for the test",
            "past (B, 8, 2) -> future (B, 12, 2)",
            "m; 0.4 s between positions",
            "none stated; released by their authors for research",
            "ETH: Pellegrini et al. 2009; UCY: Lerner et al. 2007",
            _pedestrians.HOW_TO_GET,
            pedestrians,
            eth_ucy_folder,
            _pedestrians.FILES,
        ),
        Source(
            "3bpa-xtb",
            "a flexible molecule in normal modes at 300 K and above, labelled by GFN2-xTB",
            bpa_shapes,
            _molecules.UNITS,
            "none needed: generated",
            _molecules.BPA_ORIGIN,
            "pip install tblite; generated on first use, in a minute",
            bpa,
            cache_folder,
            _bpa.cached_files("xtb"),
        ),
        Source(
            "3bpa",
            "the same molecule at 300 K, labelled by DFT",
            bpa_shapes,
            _molecules.UNITS,
            "MIT",
            _molecules.BPA_ORIGIN,
            _molecules.how_to_get("3bpa"),
            lambda **options: bpa(**{"labels": "dft", "test": 150, **options}),
            lambda: _molecules.published_folder("3bpa"),
            _molecules.BPA_FILES,
        ),
        Source(
            "acac",
            "acetylacetone at 300 K, labelled by DFT",
            "positions (B, 15, 3), species (B, 15) -> energy (B, 1), forces (B, 15, 3)",
            _molecules.UNITS,
            "MIT",
            _molecules.ACAC_ORIGIN,
            _molecules.how_to_get("acac"),
            acac,
            lambda: _molecules.published_folder("acac"),
            _molecules.ACAC_FILES,
        ),
        Source(
            "qm9",
            "130831 small organic molecules with fifteen properties",
            "positions (B, 29, 3), species, mask (B, 29) -> one property (B, 1)",
            "angstrom; the property in the unit of the published table",
            "MIT",
            "Ramakrishnan et al. 2014 (doi 10.1038/sdata.2014.22), in the wheel qm9pack",
            _qm9.HOW_TO_GET,
            qm9,
            qm9_folder,
            _qm9.FILES,
        ),
        Source(
            "triple-product",
            "three vectors and the volume that they span, with its sign; tested with their mirror images",
            "vectors (B, 3, 3) -> volume (B, 1)",
            "none",
            "none needed: generated",
            "generated",
            "made on first use, at once",
            triple_product,
        ),
        Source(
            "mirror-images",
            "a shape of five points or its mirror image, turned and disturbed",
            "positions (B, 5, 3) -> class (B,)",
            "none",
            "none needed: generated",
            "generated",
            "made on first use, at once",
            mirror_images,
        ),
        Source(
            "tetris",
            "the eight blocks of four cubes in space, of which two are mirror images",
            "positions (B, 4, 3) -> class (B,)",
            "the side of a cube",
            "none needed: generated",
            "Thomas et al. 2018 (arXiv 1802.08219)",
            "made on first use, at once",
            tetris,
        ),
        Source(
            "graph8c",
            "all 11117 connected graphs on 8 nodes, each once",
            "adjacency (B, 8, 8) -> number of triangles (B, 1)",
            "none: adjacency 0 or 1",
            "none needed: mathematical objects",
            "Balcilar et al. 2021 (arXiv 2106.04319)",
            "listed on first use, in seconds; in the order of $TORSOR_DATA/graphs/graph8c.g6 where there is one",
            graph8c,
        ),
        Source(
            "exp",
            "formulas as planar graphs, in pairs that colour refinement confuses: satisfiable or not?",
            "adjacency (B, n, n), x (B, n, 2), mask (B, n) -> class (B,)",
            "none: adjacency 0 or 1",
            "MIT (the published graphs); none needed for generated ones",
            "Abboud et al. 2021 (arXiv 2010.01179)",
            "generated on first use, with networkx; or put the published exp.npz in $TORSOR_DATA/graphs",
            exp_graphs,
        ),
        Source(
            "sr25",
            "the 15 strongly regular graphs on 25 nodes with 12 neighbours each",
            "adjacency (B, 25, 25) -> number of the graph (B,)",
            "none: adjacency 0 or 1",
            "none needed: mathematical objects",
            "built from Steiner triple systems and Latin squares",
            "built on first use, in seconds",
            sr25,
        ),
    )
    return {entry.name: entry for entry in entries}
