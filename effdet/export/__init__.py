"""Export: a model as a file for another runtime, which is written only once it has passed the parity gate."""

from effdet.export.export import export_model
from effdet.export.gate import Difference, GateError, GateReport, Tolerance
from effdet.export.settings import FORMATS, ExportSettings, Format

__all__ = ["FORMATS", "Difference", "ExportSettings", "Format", "GateError", "GateReport", "Tolerance", "export_model"]
