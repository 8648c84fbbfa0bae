"""The symmetry is shown to the network, one random transformation per sample and step."""

from dataclasses import replace

from torsor.study._protocol import SkippedError
from torsor.study._treatment import check_options, objective_of, treatment
from torsor.study._words import parse_group


@treatment("augmented", "random transformations of the training data")
def augmented(backbone, dataset, options):
    """Options: `group`, transform by this group only, such as "O(3)" where the data have E(3); `law`, true to draw
    elements as the test set of the data has them, where the data set says how."""
    from torsor import learn

    group, law = check_options(options, group=None, law=False).values()
    if law:
        if not hasattr(dataset, "law"):
            raise SkippedError(f"{dataset.name} does not say by which law its test set is moved")
        return backbone(), learn.augmented(objective_of(dataset), dataset.law)
    symmetry = dataset.symmetry if group is None else replace(dataset.symmetry, group=parse_group(group))
    return backbone(), learn.augmented(objective_of(dataset), symmetry)
