"""Images are seen in a canonical pose, or from several poses at once."""

from torsor.study._protocol import SkippedError
from torsor.study._treatment import check_options, objective_of, treatment


@treatment("canonical_pose", "images whitened by their second moments: exact up to rotations")
def canonical_pose(backbone, dataset, options):
    """Options: `radius` of the pose in pixels, by default 7/40 of the image; `factor`, as in `PolarFrame`."""
    from dataclasses import replace

    from torsor.build import FrameAveraging
    from torsor.build.frames import PolarFrame
    from torsor.groups import Affine

    options = check_options(options, radius=None, factor="spd")
    frame = PolarFrame(_radius(dataset, options["radius"]), factor=options["factor"])
    return FrameAveraging(backbone(), replace(_symmetry(dataset), group=Affine(2)), frame), objective_of(dataset)


@treatment("orbit_pooled", "features pooled over copies that a window of the linear group has moved")
def orbit_pooled(backbone, dataset, options):
    """The maximum over copies of the features, or of the outputs of a network without `features` and `head`.

    Options: `n` copies; `angle`, the largest rotation, in radians (pi for all); `width` of stretches, 0 for none;
    `perspective` of homographies, in one over half the side of the image, 0 for none (it needs a `width`);
    `pose`, the factor of a canonical pose that comes first, "" for none; `radius` as in `canonical_pose`; `resample`,
    `method` and `n_eval` as in `SamplePlan`.
    """
    import math

    from torsor._tree import leaves
    from torsor.build.lie import OrbitPool, PolarFrame, SamplePlan
    from torsor.groups import SO
    from torsor.groups.measure import LogNormalSPD, PolarProposal, ProjectiveProposal, UniformCompact, Window

    defaults = {
        "n": 4,
        "angle": 0.5,
        "width": 0.0,
        "perspective": 0.0,
        "pose": "",
        "radius": None,
        "resample": "train",
        "method": "iid",
    }
    options = check_options(options, **defaults, n_eval=None)
    _symmetry(dataset)
    law = Window(SO(2), options["angle"]) if options["angle"] < math.pi else UniformCompact(SO(2))
    if options["width"]:
        law = PolarProposal(LogNormalSPD(options["width"]), law)
    if options["perspective"]:
        half = leaves(dataset.train.inputs)[0].shape[-1] / 2
        law = ProjectiveProposal(law, 1.0, options["perspective"] / half)
    frame = None
    if options["pose"]:
        frame = PolarFrame(_radius(dataset, options["radius"]), factor=options["pose"])
    plan = SamplePlan(law, options["n"], **{key: options[key] for key in ("resample", "method", "n_eval")})
    return OrbitPool(backbone(), plan, frame=frame), objective_of(dataset)


def _symmetry(dataset):
    from torsor import Image

    slots = dataset.symmetry.inputs
    actions = list(slots.values()) if isinstance(slots, dict) else list(slots)
    if len(actions) != 1 or not isinstance(actions[0], Image) or dataset.symmetry.group.n != 2:
        raise SkippedError("poses and orbits are for one input, an image of the plane")
    return dataset.symmetry


def _radius(dataset, radius):
    from torsor._tree import leaves

    return 7 / 40 * leaves(dataset.train.inputs)[0].shape[-1] if radius is None else radius
