"""The command line: overrides become one checked configuration, and a command runs it.

One file for each step: :mod:`~effdet.cli.overrides` splits the overrides and protects their values from Hydra's grammar,
:mod:`~effdet.cli.compose` composes ``conf/`` and compares it with what :mod:`~effdet.cli.schema` reads of the settings classes,
:mod:`~effdet.cli.config` finds combinations that make no sense, :mod:`~effdet.cli.resume` completes it from the run that it
goes on with, :mod:`~effdet.cli.app` runs the command. Until the configuration is valid nothing but the standard library,
hydra, omegaconf and yaml is imported, so that a misspelt override is answered at once.
"""

MODULES = {
    "train": "effdet.cli.train",
    **dict.fromkeys(("evaluate", "compare"), "effdet.cli.evaluate"),
    **dict.fromkeys(("predict", "explain"), "effdet.cli.predict"),
    **dict.fromkeys(("export", "serve", "shards"), "effdet.cli.export"),
    **dict.fromkeys(("scale", "search"), "effdet.cli.scale"),
    **dict.fromkeys(("info", "doctor", "replay"), "effdet.cli.info"),
}
"""Where each command stands: its function ``run_NAME``, and the dataclass ``Name`` of its keys."""
