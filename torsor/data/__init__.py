"""Sources and generators of data, each with its shapes, units, licence and symmetry."""

from torsor.data._charges import resolve_charges, simulate_charges
from torsor.data._chirality import mirror_images, tetris, triple_product
from torsor.data._cosine import cosine, cosine_law
from torsor.data._digits import digits
from torsor.data._flights import flights
from torsor.data._graphs import connected_graphs, graph8c, read_graph6
from torsor.data._graphs_exp import exp_graphs
from torsor.data._graphs_regular import sr25, strongly_regular_25
from torsor.data._inertia import inertia, inertia_law
from torsor.data._meshes import sample_meshes
from torsor.data._mnist import mnist
from torsor.data._molecules import acac, bpa
from torsor.data._nbody import nbody, restart_floor
from torsor.data._normals import ABCMeshes, normals
from torsor.data._pedestrians import Tracks, pedestrians, read_eth_ucy, windows
from torsor.data._qm9 import qm9
from torsor.data._registry import Source, sources
from torsor.data._samples import Dataset, Samples
from torsor.data._structures import read_structures
from torsor.data._warped_digits import WarpedDigits, affnist, affnist_wide, homnist

__all__ = [
    "ABCMeshes",
    "Dataset",
    "Samples",
    "Source",
    "Tracks",
    "WarpedDigits",
    "acac",
    "affnist",
    "affnist_wide",
    "bpa",
    "connected_graphs",
    "cosine",
    "cosine_law",
    "digits",
    "exp_graphs",
    "flights",
    "graph8c",
    "homnist",
    "inertia",
    "inertia_law",
    "mirror_images",
    "mnist",
    "nbody",
    "normals",
    "pedestrians",
    "qm9",
    "read_eth_ucy",
    "read_graph6",
    "read_structures",
    "resolve_charges",
    "restart_floor",
    "sample_meshes",
    "simulate_charges",
    "sources",
    "sr25",
    "strongly_regular_25",
    "tetris",
    "triple_product",
    "windows",
]
