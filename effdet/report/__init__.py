"""``report.html``: one self-contained page at the end of every training and evaluation."""

from effdet.report.base import Gallery, HeadReport
from effdet.report.comparison import comparison_page
from effdet.report.facts import DataFacts, Facts
from effdet.report.page import measured, report_page

__all__ = [
    "DataFacts",
    "Facts",
    "Gallery",
    "HeadReport",
    "comparison_page",
    "measured",
    "report_page",
]
