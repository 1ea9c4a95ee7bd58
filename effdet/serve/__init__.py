"""Serving: a model behind HTTP, with a page to try it on."""

from effdet.serve.app import create_app
from effdet.serve.request import ServeSettings

__all__ = ["ServeSettings", "create_app"]
