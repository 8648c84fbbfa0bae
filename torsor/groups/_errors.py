"""What can go wrong with a group element."""


class LogDomainError(ValueError):
    """No real logarithm exists, or none that is safe to compute: use `Group.decompose` instead of `Group.log`."""


class NonCompactError(TypeError):
    """The group has no normalised Haar measure: give `sample` a proposal."""


class NotInGroupError(ValueError):
    """A tensor was offered as an element (of a group or of a Lie algebra) and is none."""
