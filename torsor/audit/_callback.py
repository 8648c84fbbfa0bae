"""An audit while a model trains: after every so many epochs, with the error among the other logged numbers."""

import sys
from typing import Any

import torch

from torsor import _tree
from torsor.audit._equivariance import equivariance
from torsor.audit._equivariance_report import EquivarianceReport
from torsor.symmetry import Inputs, Symmetry, as_inputs


class EquivarianceCallback:
    """Audits a model at the end of training epochs and logs `equivariance_error` and `equivariance_floor`.

    It goes where callbacks go: `Fabric(callbacks=[...])`, which `torsor.learn.fit` calls too, or the `callbacks` of
    a `Trainer` of Lightning or PyTorch Lightning, which must be imported before it is made. In a loop of one's own on
    Fabric: `fabric.call("on_train_epoch_end", fabric, model)`. The numbers go to `log(name, value)` of the module, else
    of the first argument. The model is left as it was, and no random number of the training is drawn.

    Arguments:
        symmetry: what should hold.
        inputs: one batch to audit on; it follows the model to its device.
        every: epochs between two audits.
        samples: group elements for each input.
        name: what the names of the logged numbers begin with.

    Attributes:
        report: the last `EquivarianceReport`; None before the first.

    Raises:
        ValueError: `every` or `samples` is below 1.

    >>> import torch
    >>> from lightning_fabric import Fabric
    >>> from torsor import O, Scalar, Symmetry, Vector, audit, learn
    >>> from torsor.data import Samples
    >>> x = torch.randn(16, 3)
    >>> data = Samples(x, x.norm(dim=1, keepdim=True))
    >>> watch = audit.EquivarianceCallback(Symmetry(O(3), Vector(per="sample"), Scalar()), x, every=2)
    >>> fabric = Fabric(accelerator="cpu", devices=1, callbacks=[watch])
    >>> result = learn.fit(torch.nn.Linear(3, 1), data, learn.mse, epochs=2, batch_size=8, fabric=fabric)
    >>> ["equivariance_error" in entry for entry in result.history], watch.report.verdict
    ([False, True], 'broken')
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> "EquivarianceCallback":
        """An instance that is also a `Callback` of every Lightning that is imported, as a `Trainer` wants it."""
        loaded = (sys.modules.get(name) for name in ("lightning.pytorch", "pytorch_lightning"))
        bases = tuple(dict.fromkeys(getattr(module, "Callback", object) for module in loaded))
        bases = tuple(base for base in bases if not issubclass(cls, base))  # a missing one is None, whose is object
        return object.__new__(type(cls.__name__, (cls, *bases), {}) if bases else cls)

    def __init__(
        self, symmetry: Symmetry, inputs: Inputs, *, every: int = 1, samples: int = 2, name: str = "equivariance"
    ) -> None:
        for word, value in (("every", every), ("samples", samples)):
            if value < 1:
                raise ValueError(f"{word} must be at least 1; got {value}")
        self.symmetry, self.inputs = symmetry, as_inputs(inputs)
        self.every, self.samples, self.name = every, samples, name
        self.epochs = 0
        self.report: EquivarianceReport | None = None

    def on_train_epoch_end(self, trainer: Any, module: torch.nn.Module) -> None:
        """Count an epoch; where an audit is due, run it and log it."""
        self.epochs += 1
        if self.epochs % self.every:
            return
        place = next((p.device for p in module.parameters()), torch.device("cpu"))
        inputs = _tree.map(lambda x: x.to(place) if isinstance(x, torch.Tensor) else x, self.inputs)
        self.report = equivariance(module, self.symmetry, inputs, samples=self.samples, **_QUICK)
        log = getattr(module, "log", None) or trainer.log
        log(f"{self.name}_error", self.report.error)
        log(f"{self.name}_floor", self.report.floor)


_QUICK: dict[str, Any] = {"worst": False, "curve": False, "continuity": False, "float64": False, "parts": False}
