"""The rules for files, in one place: which names count, how text is read, how a file is written.

| rule | where |
|---|---|
| hidden files and folders are skipped when a folder is listed | :func:`is_hidden`, :func:`walk` |
| what Pillow decodes by its name is an image, in folders too; what is skipped is counted | :func:`is_image`, :func:`walk` |
| text is UTF-8, or UTF-16 with a byte order mark; anything else is one error with file, byte and fix | :func:`read_text` |
| truth values, numbers and whole numbers are read in whatever type a tool gave them | :mod:`effdet.files.scalars` |
| a file name is bytes: one that is not UTF-8 is read, and printable where it is shown | :func:`encode_name`, :func:`shown` |
| the identity of a file is its path, never its bare name | :func:`distinct_names` |
| a file is written whole or not at all, and never over a file of the user's | :func:`replacing`, :func:`refuse_overwriting` |
| a folder is complete or not there | :func:`making_folder` |

Only the standard library is imported here, Pillow where suffixes are asked for.
"""

from effdet.files.names import decode_name, distinct_names, encode_name, image_suffixes, is_hidden, is_image, shown
from effdet.files.text import FileError, decode_text, read_bytes, read_json, read_lines, read_text, text_lines
from effdet.files.walk import Listing, is_link_loop, matching, walk
from effdet.files.write import (
    making_folder,
    move_into_place,
    refuse_overwriting,
    refuse_replacing,
    remove_partial,
    replacing,
    scratch_folder,
    write_bytes,
    write_text,
)

__all__ = [
    "FileError",
    "Listing",
    "decode_name",
    "decode_text",
    "distinct_names",
    "encode_name",
    "image_suffixes",
    "is_hidden",
    "is_image",
    "is_link_loop",
    "making_folder",
    "matching",
    "move_into_place",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_text",
    "refuse_overwriting",
    "refuse_replacing",
    "remove_partial",
    "replacing",
    "scratch_folder",
    "shown",
    "text_lines",
    "walk",
    "write_bytes",
    "write_text",
]
