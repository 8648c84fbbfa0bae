"""Data sets with their symmetry: generators, readers, and where everything comes from."""

from torsor.data._samples import Dataset, Samples

__all__ = ["Dataset", "Samples"]
