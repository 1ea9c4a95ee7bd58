"""The error of a user's making; apart from :mod:`heads.structures`, so that it can be raised without torch."""


class UserError(ValueError):
    """A mistake that a user can make and mend. The text is one line: the value, the rule, the fix."""
