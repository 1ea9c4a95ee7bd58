"""A request that is not answered with boxes: its status, and one line that says why."""

from __future__ import annotations


class RequestError(Exception):
    """Raised anywhere in the handling of a request; sent as ``{"error": text}``.

    Args:
        status: of the response.
        text: one line.
        retry_after: seconds after which it is worth trying again.
    """

    def __init__(self, status: int, text: str, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.retry_after = status, text, retry_after


STATUSES: dict[int, str] = {
    400: "The body is empty, or is not the JSON or the form that its type says.",
    408: "The body did not arrive in time.",
    413: "The body or the image is larger than the server takes.",
    415: "The content type is none of the two, or the file is no image of a known format.",
    422: "A field is missing, unknown or out of range, or the image is broken.",
    500: "The model failed on this image.",
    503: "Too many requests wait, or the server is going down; try again.",
    504: "The answer took too long.",
}
"""All that `/predict` may send beside 200."""
