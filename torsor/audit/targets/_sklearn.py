"""Fitted estimators of scikit-learn, and whatever has their face."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torsor.audit.targets._numpy import array, tensor
from torsor.audit.targets._target import Target


def is_estimator(thing: Any) -> bool:
    """Whether something predicts as scikit-learn's estimators do, and is not called directly."""
    return not isinstance(thing, type) and not callable(thing) and callable(getattr(thing, "predict", None))


def sklearn_target(name: str, estimator: Any) -> Target:
    """A fitted estimator as a callable: `predict_proba` where it has one, else `predict`.

    Inputs are flattened to rows of features, one after the other, `(B, features)`. Labels that are no numbers come as
    their places in `classes_`. No gradient, no layers.

    >>> from sklearn.linear_model import LinearRegression
    >>> import torch
    >>> model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    >>> sklearn_target("line", model).function(torch.tensor([[3.0]], dtype=torch.float64)).round()
    tensor([6.], dtype=torch.float64)
    """
    predict = getattr(estimator, "predict_proba", None) or estimator.predict

    def call(*args: Tensor, **kwargs: Tensor) -> Tensor:
        values = [*args, *kwargs.values()]
        features = np.concatenate([array(x).reshape(len(x), -1) for x in values], axis=1)
        found = np.asarray(predict(features))
        if found.dtype.kind not in "biufc":
            found = np.searchsorted(estimator.classes_, found)
        return tensor(found, values[0].device)

    return Target(name, "sklearn", call, dtype=torch.float64)
