"""The symmetry is built in by averaging over the whole group."""

from torsor.study._protocol import SkippedError
from torsor.study._treatment import check_options, objective_of, treatment

_MOST_ELEMENTS = 1000  # copies of the batch that one step may hold


@treatment("group_averaged", "average over the whole group, if it is finite: exact")
def group_averaged(backbone, dataset, options):
    from torsor import build

    check_options(options)
    group = dataset.symmetry.group
    if not group.is_finite:
        raise SkippedError(f"{group.name} has infinitely many elements; frames average over a few of them")
    if group.order > _MOST_ELEMENTS:
        raise SkippedError(f"{group.name} has {group.order} elements; at most {_MOST_ELEMENTS} are averaged")
    return build.GroupAverage(backbone(), dataset.symmetry), objective_of(dataset)
