"""Nothing is done about the symmetry."""

from torsor.study._treatment import check_options, objective_of, treatment


@treatment("plain", "the backbone as it is")
def plain(backbone, dataset, options):
    check_options(options)
    return backbone(), objective_of(dataset)
