"""Convolutions on Lie groups up to the affine group, pooling over orbits, canonical poses of images."""

from torsor.build.frames import PolarFrame
from torsor.build.lie._convolution import GroupConv, GroupConv2d, GroupConv3d, LiftingConv, LiftingConv2d, LiftingConv3d
from torsor.build.lie._invariants import GaussianJet, InvariantLayer, InvariantNet
from torsor.build.lie._networks import AffineNetSmall, AffineResNet
from torsor.build.lie._orbit import OrbitPool
from torsor.build.lie._points import PointGroupConv, PointLifting
from torsor.build.lie._pooling import BlurPool, GroupNorm, GroupPool
from torsor.build.lie._sampling import GroupFeature, SamplePlan

__all__ = [
    "AffineNetSmall",
    "AffineResNet",
    "BlurPool",
    "GaussianJet",
    "GroupConv",
    "GroupConv2d",
    "GroupConv3d",
    "GroupFeature",
    "GroupNorm",
    "GroupPool",
    "InvariantLayer",
    "InvariantNet",
    "LiftingConv",
    "LiftingConv2d",
    "LiftingConv3d",
    "OrbitPool",
    "PointGroupConv",
    "PointLifting",
    "PolarFrame",
    "SamplePlan",
]
