"""What predictions are written to: a journal that can be gone on with, COCO and CSV files, videos, MOT files."""

from effdet.inference.writers.journal import Entry, Journal, VideoRecord, read_entries
from effdet.inference.writers.tables import MotWriter, write_coco, write_csv, write_results
from effdet.inference.writers.video import VideoWriter

__all__ = [
    "Entry",
    "Journal",
    "MotWriter",
    "VideoRecord",
    "VideoWriter",
    "read_entries",
    "write_coco",
    "write_csv",
    "write_results",
]
