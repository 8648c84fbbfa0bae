"""Plain networks to wrap, to train and to compare with. None of them knows a symmetry of space."""

from torsor.build.backbones._message_passing import MessagePassing
from torsor.build.backbones._mlp import MLP, Flattened

__all__ = ["MLP", "Flattened", "MessagePassing"]
