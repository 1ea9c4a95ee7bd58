"""``report.html``: one self-contained page at the end of every training and evaluation."""

from effdet.evaluation.report.comparison import comparison_page
from effdet.evaluation.report.facts import DataFacts, Facts
from effdet.evaluation.report.gallery import Gallery
from effdet.evaluation.report.heads import HEAD_REPORTS, HeadReport, head_reports
from effdet.evaluation.report.page import measured, report_page

__all__ = [
    "HEAD_REPORTS",
    "DataFacts",
    "Facts",
    "Gallery",
    "HeadReport",
    "comparison_page",
    "head_reports",
    "measured",
    "report_page",
]
