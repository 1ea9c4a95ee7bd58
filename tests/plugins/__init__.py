"""Plug-ins of the tests' own: nothing of the package knows them, and the command line names them by ``_target_``."""
