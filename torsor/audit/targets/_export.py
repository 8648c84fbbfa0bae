"""Archives of `torch.export` as callables."""

from pathlib import Path
from typing import Any

from torch import Tensor

from torsor.audit.targets._archive import rebuilt_archive
from torsor.audit.targets._chunks import in_chunks, one_by_one
from torsor.audit.targets._target import Target


def export_target(path: str | Path, *, single: bool = False) -> Target:
    """A `.pt2` archive of `torch.export.save` as a callable, with the names of its arguments.

    Only raw weights, ATen operators, shape expressions and plain containers are read; an archive with anything else is
    refused, because PyTorch's own loader would execute it. Guards and sample inputs are left out. The precision is the
    archive's own; a fixed batch size is served in batches of that size, and a
    model that takes a `single` sample is called once for each.

    Raises:
        ValueError: the file is missing, too large, no archive, or holds what could execute.
    """
    from torch.export import load

    buffer = rebuilt_archive(path)
    try:
        program = load(buffer)
        module = program.module(check_guards=False)
    except Exception as error:
        raise ValueError(f"{str(path)!r} cannot be loaded: {type(error).__name__}: {error}") from None
    user_inputs = set(program.graph_signature.user_inputs)
    values = [n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder" and n.name in user_inputs]
    sizes = [x.shape[0] for x in values if isinstance(x, Tensor) and x.ndim]
    fixed = sizes[0] if sizes and all(isinstance(n, int) and n == sizes[0] for n in sizes) else None

    names = tuple(program.module_call_graph[0].signature.forward_arg_names or ())  # type: ignore[union-attr]
    keywords = set(program.call_spec.in_spec.child(1).context)  # type: ignore[union-attr]

    def call(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        if set(given) != set(names) or len(args) > len(names):
            raise TypeError(f"the model takes {', '.join(names)}; got {len(args)} values and {', '.join(kwargs)}")
        by_name = {name: given[name] for name in names if name in keywords}
        return module(*[given[name] for name in names if name not in keywords], **by_name)

    places = [*(n for n in names if n not in keywords), *(n for n in names if n in keywords)]
    pairs = zip(places, values, strict=True) if len(places) == len(values) else ()  # containers hold several values
    sizes_of = {n: tuple(x.shape[0 if single else 1 :]) for n, x in pairs if isinstance(x, Tensor) and x.ndim}
    shapes = {n: tuple(k if isinstance(k, int) else None for k in shape) for n, shape in sizes_of.items()}
    floating = [x.dtype for x in values if isinstance(x, Tensor) and x.is_floating_point()]
    return Target(
        str(path),
        "export",
        one_by_one(call) if single else in_chunks(call, fixed),
        inputs=names,
        dtype=floating[0] if floating else None,
        gradient=True,
        shapes=shapes,
    )
