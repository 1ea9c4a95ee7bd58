"""Hydra's own application on our configuration files: ``--cfg``, ``--info``, and what ``-m`` starts from.

``HydraConfig`` is set only here and in the processes of launchers, never in one that trains.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

import yaml
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from effdet.addresses import without_credentials_in
from effdet.cli.compose import composed, hydra_over, in_one_line
from effdet.cli.errors import ConfigError
from effdet.cli.overrides import Overrides


@contextlib.contextmanager
def hydra_app(name: str, asked: Overrides) -> Iterator[Hydra]:
    """Hydra over ``conf/`` and the user's folder; `name` is the job's name.

    Raises:
        ConfigError: Hydra found an error, in one line.
    """
    try:
        with warnings.catch_warnings(), hydra_over(asked.config_dir, job=name) as hydra:
            warnings.filterwarnings("ignore", module="hydra")
            yield hydra
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError([in_one_line(error)]) from error
    finally:
        HydraConfig.instance().cfg = None


def show(name: str, asked: Overrides) -> None:
    """``--cfg job|hydra|all`` and ``--info PART`` of the command `name`, as Hydra prints them, without credentials.

    Raises:
        ConfigError: an override is wrong, or `asked.package` is not there.
    """
    overrides = [*asked.hydra, *composed(name, asked)[1]]
    primary = asked.config_name or name
    text = io.StringIO()
    with hydra_app(name, asked) as hydra, contextlib.redirect_stdout(text):
        if asked.cfg is None:
            hydra.show_info(str(asked.info), config_name=primary, overrides=overrides)
        else:
            complaint = io.StringIO()
            try:
                with contextlib.redirect_stderr(complaint):
                    hydra.show_cfg(primary, overrides, asked.cfg, asked.package, asked.resolve)
            except SystemExit:
                raise ConfigError([f"--package {asked.package}: {complaint.getvalue().strip()}"]) from None
    print(without_credentials_in(text.getvalue()), end="")
