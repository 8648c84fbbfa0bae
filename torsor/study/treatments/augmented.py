"""The symmetry is shown to the network, one random transformation per sample and step."""

from dataclasses import replace

from torsor.study._treatment import check_options, objective_of, treatment
from torsor.study._words import parse_group


@treatment("augmented", "random transformations of the training data")
def augmented(backbone, dataset, options):
    """Option `group`: transform by this group only, such as "O(3)" where the data have E(3)."""
    from torsor import learn

    group = check_options(options, group=None)["group"]
    symmetry = dataset.symmetry if group is None else replace(dataset.symmetry, group=parse_group(group))
    return backbone(), learn.augmented(objective_of(dataset), symmetry)
