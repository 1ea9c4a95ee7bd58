"""The command line: words become one checked configuration, and a command runs it.

The road of the words, one file each: :mod:`~effdet.cli.words` splits them, :mod:`~effdet.cli.quoting` protects their values
from Hydra's grammar, :mod:`~effdet.cli.compose` composes ``conf/``, :mod:`~effdet.cli.check` finds everything that is wrong,
:mod:`~effdet.cli.app` runs the command. Until the configuration is valid nothing but the standard library, hydra, omegaconf
and yaml is imported, so that a misspelt word is answered at once.
"""
