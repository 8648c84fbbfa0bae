"""Nested containers of tensors. The one file that imports torch's private pytree."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch.utils._pytree as _pytree

Tree = Any
"""A tensor, or tuples, lists, dicts, named tuples and dataclasses of trees."""

_registered: set[type] = set()


def _admit(node: Any) -> bool:
    """Register dataclasses and PyTorch Geometric `Data` the first time one is met."""
    kind = type(node)
    if kind in _registered or isinstance(node, type):
        return False
    if dataclasses.is_dataclass(node):
        names = [field.name for field in dataclasses.fields(node)]
        _pytree.register_pytree_node(
            kind,
            lambda value: ([getattr(value, name) for name in names], None),
            lambda children, _: kind(**dict(zip(names, children, strict=True))),
            flatten_with_keys_fn=lambda value: (  # type: ignore[arg-type]
                [(_pytree.GetAttrKey(name), getattr(value, name)) for name in names],
                None,
            ),
        )
    elif "torch_geometric.data" in sys.modules and isinstance(node, sys.modules["torch_geometric.data"].Data):
        _pytree.register_pytree_node(
            kind,
            lambda value: ([value[key] for key in sorted(value.keys())], sorted(value.keys())),
            lambda children, keys: kind.from_dict(dict(zip(keys, children, strict=True))),
            flatten_with_keys_fn=lambda value: (  # type: ignore[arg-type]
                [(_pytree.GetAttrKey(key), value[key]) for key in sorted(value.keys())],
                sorted(value.keys()),
            ),
        )
    else:
        return False
    _registered.add(kind)
    return True


def flatten(tree: Tree, leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Any]:
    """The leaves of a tree and what is needed to build it again."""
    leaves, structure = _pytree.tree_flatten(tree, is_leaf=leaf)
    if any(_admit(x) for x in leaves if not (leaf and leaf(x))):
        return flatten(tree, leaf)
    return leaves, structure


def unflatten(leaves: Sequence[Any], structure: Any) -> Tree:
    """The tree that `flatten` took apart, with other leaves."""
    return _pytree.tree_unflatten(list(leaves), structure)


def leaves(tree: Tree, leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree, depth first."""
    return flatten(tree, leaf)[0]


def map(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """`function` of each leaf, together with the leaves at the same place in `others`."""
    first, structure = flatten(tree)
    rest = [flatten(other)[0] for other in others]
    return unflatten([function(*group) for group in zip(first, *rest, strict=True)], structure)


def names(tree: Tree, leaf: Callable[[Any], bool] | None = None) -> list[str]:
    """One name per leaf, such as `positions`, `[0]` or `[0].x[1]`."""
    flatten(tree, leaf)
    paths = _pytree.tree_flatten_with_path(tree, is_leaf=leaf)[0]
    return ["".join(_key(k, i == 0) for i, k in enumerate(path)) for path, _ in paths]


def _key(key: Any, first: bool) -> str:
    if isinstance(key, _pytree.MappingKey):
        return str(key.key) if first else f".{key.key}"
    if isinstance(key, _pytree.GetAttrKey):
        return key.name if first else f".{key.name}"
    return f"[{key.idx}]"


def match(pattern_structure: Any, values: Tree) -> list[Any] | None:
    """The parts of `values` at the leaves of a pattern, or None where the two differ in structure."""
    try:
        return pattern_structure.flatten_up_to(values)
    except (ValueError, KeyError, TypeError):
        return None
