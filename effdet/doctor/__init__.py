"""Doctor: what is wrong with a data set, where, and what to do about it.

``examine`` reads every split as it is and notes what it finds, without ever stopping at a fault; ``page_of`` draws the
findings; ``repair`` writes valid annotations beside them. Anchors and matcher are tried on the boxes; no model is needed.
"""

from effdet.doctor.coverage import CoverageSettings
from effdet.doctor.examine import FAIL_ON, Diagnosis, examine
from effdet.doctor.issues import ISSUE_TYPES, Issue, Issues, IssueType
from effdet.doctor.page import page_of
from effdet.doctor.repair import Repair, repair

__all__ = [
    "FAIL_ON",
    "ISSUE_TYPES",
    "CoverageSettings",
    "Diagnosis",
    "Issue",
    "IssueType",
    "Issues",
    "Repair",
    "examine",
    "page_of",
    "repair",
]
