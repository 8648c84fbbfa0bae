"""Measure symmetries and certify them: how far is a function from a symmetry, where does it break, what is promised?"""

from torsor.audit import certificate, targets
from torsor.audit._callback import EquivarianceCallback
from torsor.audit._continuity import Continuity, Jump
from torsor.audit._curve import Curve
from torsor.audit._equivariance import equivariance
from torsor.audit._equivariance_report import EquivarianceReport
from torsor.audit._float64 import Float64Rerun
from torsor.audit._frame_report import FrameReport, frame_report
from torsor.audit._gate import badge_svg, html_page, junit_xml, passes
from torsor.audit._layers import LayerError, LayersReport, layers
from torsor.audit._measure import OutputError, PartError
from torsor.audit._report import Report
from torsor.audit._sources import ErrorSources, error_sources
from torsor.audit._structures import StructureError, StructuresReport, structures
from torsor.audit._suggest import suggestions
from torsor.audit._worst import WorstCase
from torsor.audit.certificate import Certificate, clopper_pearson, scenario

__all__ = [
    "Certificate",
    "Continuity",
    "Curve",
    "EquivarianceCallback",
    "EquivarianceReport",
    "ErrorSources",
    "Float64Rerun",
    "FrameReport",
    "Jump",
    "LayerError",
    "LayersReport",
    "OutputError",
    "PartError",
    "Report",
    "StructureError",
    "StructuresReport",
    "WorstCase",
    "badge_svg",
    "certificate",
    "clopper_pearson",
    "equivariance",
    "error_sources",
    "frame_report",
    "html_page",
    "junit_xml",
    "layers",
    "passes",
    "scenario",
    "structures",
    "suggestions",
    "targets",
]
