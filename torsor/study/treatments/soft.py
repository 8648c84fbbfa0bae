"""The symmetry is asked for by a penalty on every layer, whose strength is learned too."""

from torsor.study._protocol import SkippedError
from torsor.study._treatment import check_options, objective_of, treatment

_NET = {"channels": 64, "layers": 2, "max_rank": 2, "outer": True, "hidden": None}


@treatment("soft", "free linear layers on tensors, leaning towards the symmetry as far as the data do")
def soft(backbone, dataset, options):
    """The backbone is replaced by a `SoftEMLP`.

    Options: `strengths`, "evidence" (default), "power", "fixed" or "none"; `lambda_0` of the last but one two;
    `candidates`, "group" (default), or "axes", in three dimensions: the rotations and reflections about each axis;
    `start`, `channels`, `layers`, `max_rank`, `outer` as in `SoftEMLP`; `hidden`, copies of tensors of rank 0, 1, ...
    """
    from torsor import learn

    options = check_options(
        options, strengths="evidence", lambda_0=1.0, candidates="group", start="equivariant", **_NET
    )
    reps, shape = _reps(dataset)
    groups = _candidates(reps.group, options["candidates"])
    net = learn.SoftEMLP(reps.rep_in, reps.rep_out, groups, start=options["start"], **_sizes(options))
    model = learn.OnSlots(net, dataset.symmetry, shape, reps.centred)
    rule = _rule(options["strengths"], options["lambda_0"], dataset.task)
    if rule is None:
        return model, objective_of(dataset)
    try:
        per = learn.PERegularizer(model, strengths=rule)
    except UserWarning as problem:  # where warnings are errors
        raise SkippedError(str(problem)) from problem
    likelihood = "categorical" if dataset.task == "classification" else "gaussian"
    return model, learn.regularised(objective_of(dataset), per, likelihood)


@treatment("emlp", "linear layers on tensors that commute with the symmetry: exact")
def emlp(backbone, dataset, options):
    """The backbone is replaced by an `EMLP`.

    Options: `group`, another group than that of the data, such as "O(3)"; `prior`, "hard" (default), "rpp", a residual
    pathway prior, whose free part is kept small, or "relaxed", a network that starts in the group; the others as those
    of `soft`.
    """
    from torsor import learn
    from torsor.study._words import parse_group

    options = check_options(options, group=None, prior="hard", **_NET)
    reps, shape = _reps(dataset)
    group = reps.group if options["group"] is None else parse_group(options["group"])
    kinds = {"hard": learn.EMLP, "rpp": learn.RPPEMLP, "relaxed": learn.RelaxedEMLP}
    if options["prior"] not in kinds:
        raise ValueError(f"prior must be one of {', '.join(kinds)}; got {options['prior']!r}")
    net = kinds[options["prior"]](reps.rep_in, reps.rep_out, group, **_sizes(options))
    model = learn.OnSlots(net, dataset.symmetry, shape, reps.centred)
    objective = objective_of(dataset)
    return model, learn.with_prior(objective, net) if options["prior"] == "rpp" else objective


def _reps(dataset):
    from torsor import learn
    from torsor._tree import leaves

    try:
        reps = learn.slot_reps(
            dataset.symmetry, dataset.train.inputs, leaves(dataset.train.targets)[0], dataset.classes
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise SkippedError(f"the data are not tensors of a group of matrices: {error}") from error
    return reps, learn.output_shape(dataset.train.targets, dataset.classes)


def _sizes(options):
    from torsor.actions import Scalar, T

    sizes = {key: options[key] for key in ("channels", "layers", "max_rank", "outer")}
    if options["hidden"] is not None:
        sizes["channels"] = sum((n * T(r) for r, n in enumerate(options["hidden"])), start=0 * Scalar())
    return sizes


def _candidates(group, which):
    from torsor.groups import O, embed

    if which == "group":
        return [group]
    if which != "axes":
        raise ValueError(f'candidates must be "group" or "axes"; got {which!r}')
    if group.n != 3:
        raise SkippedError(
            f"there are candidates about three axes in three dimensions only; {group} acts on R^{group.n}"
        )
    return [embed(O(2), axes, 3) for axes in ((0, 1), (1, 2), (0, 2))]


def _rule(strengths, lambda_0, task):
    from torsor import learn

    if strengths == "evidence":
        mean_over = "samples" if task == "classification" else "numbers"
        return learn.EvidenceRule(start_at=lambda_0, mean_over=mean_over)
    rules = {"power": learn.PowerRule, "fixed": learn.Fixed}
    if strengths not in (*rules, "none"):
        raise ValueError(f'strengths must be "evidence", "power", "fixed" or "none"; got {strengths!r}')
    return rules[strengths](lambda_0) if strengths in rules else None
