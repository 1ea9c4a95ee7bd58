"""Doctor: what is wrong with a data set, where, and what to do about it.

``examine`` reads every split as it is and notes what it finds, without ever stopping at a fault; ``page_of`` draws the
findings; ``repair`` writes sound annotations beside them. Anchors and matcher are tried on the boxes; no model is needed.
"""

from effdet.doctor.coverage import CoverageSettings
from effdet.doctor.examine import FAIL_ON, Diagnosis, examine
from effdet.doctor.issues import Issue, Issues
from effdet.doctor.kinds import KINDS, Kind
from effdet.doctor.page import page_of
from effdet.doctor.repair import Repair, repair

__all__ = [
    "FAIL_ON",
    "KINDS",
    "CoverageSettings",
    "Diagnosis",
    "Issue",
    "Issues",
    "Kind",
    "Repair",
    "examine",
    "page_of",
    "repair",
]
