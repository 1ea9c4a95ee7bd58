"""What predictions are written to: a journal that can be gone on with, COCO and CSV files, videos, MOT files."""

from effdet.inference.writers.journal import Entry, Journal
from effdet.inference.writers.tables import coco_file, result_list, write_csv, write_mot
from effdet.inference.writers.video import VideoWriter

__all__ = ["Entry", "Journal", "VideoWriter", "coco_file", "result_list", "write_csv", "write_mot"]
