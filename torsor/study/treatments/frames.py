"""The symmetry is built in by averaging over a frame: a few elements that depend on the input."""

from torsor.study._protocol import SkippedError
from torsor.study._treatment import check_options, objective_of, treatment


@treatment("frame_averaged", "average over all elements of a frame: exact")
def frame_averaged(backbone, dataset, options):
    check_options(options)
    return _averaged(backbone, dataset), objective_of(dataset)


@treatment("stochastic_frames", "a random element of the frame in training, all of them afterwards: exact")
def stochastic_frames(backbone, dataset, options):
    """Option `samples`: elements per sample and step, default 1."""
    samples = check_options(options, samples=1)["samples"]
    return _averaged(backbone, dataset, samples=samples), objective_of(dataset)


@treatment("canonical_frame", "one frame, its signs fixed by the skewness of the input: exact")
def canonical_frame(backbone, dataset, options):
    from torsor.build import frames

    check_options(options)
    return _averaged(backbone, dataset, frame=frames.PCAFrame(signs="skew")), objective_of(dataset)


def _averaged(backbone, dataset, **how):
    from torsor import build

    try:
        return build.FrameAveraging(backbone(), dataset.symmetry, **how)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise SkippedError(f"no frame: {error}") from error
