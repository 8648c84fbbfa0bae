"""Plain networks to wrap, to train and to compare with. None of them has a symmetry of space built in."""

from torsor.build.backbones._cnn import GlobalCNN, SmallCNN
from torsor.build.backbones._dgcnn import DGCNN
from torsor.build.backbones._for_dataset import NAMES, for_dataset
from torsor.build.backbones._gin import GIN
from torsor.build.backbones._message_passing import MessagePassing
from torsor.build.backbones._mlp import MLP, Flattened
from torsor.build.backbones._point_net import PointNet

__all__ = [
    "DGCNN",
    "GIN",
    "MLP",
    "NAMES",
    "Flattened",
    "GlobalCNN",
    "MessagePassing",
    "PointNet",
    "SmallCNN",
    "for_dataset",
]
