"""Measure symmetries and certify them: how far is a function from a symmetry, where does it break, what is promised?"""

from torsor.audit import certificate
from torsor.audit._continuity import Continuity, Jump
from torsor.audit._curve import Curve
from torsor.audit._equivariance import equivariance
from torsor.audit._equivariance_report import EquivarianceReport
from torsor.audit._float64 import Float64Rerun
from torsor.audit._frame_report import FrameReport, frame_report
from torsor.audit._measure import OutputError, PartError
from torsor.audit._report import Report
from torsor.audit._sources import ErrorSources, error_sources
from torsor.audit._worst import WorstCase
from torsor.audit.certificate import Certificate, clopper_pearson

__all__ = [
    "Certificate",
    "Continuity",
    "Curve",
    "EquivarianceReport",
    "ErrorSources",
    "Float64Rerun",
    "FrameReport",
    "Jump",
    "OutputError",
    "PartError",
    "Report",
    "WorstCase",
    "certificate",
    "clopper_pearson",
    "equivariance",
    "error_sources",
    "frame_report",
]
