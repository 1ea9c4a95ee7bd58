"""``effdet scale``: a model for a budget, for a phi, or for coefficients that trainings have found."""

from __future__ import annotations

from effdet.cli.config import Config
from effdet.cli.errors import ConfigError
from effdet.cli.outputs import refuse_model_file
from effdet.cli.results import RunResult
from effdet.cli.words import Words

BUDGETS = ("fit_latency_ms", "fit_memory_mb", "fit_gmacs")
COEFFICIENTS = ("alpha", "beta", "gamma")


def run(config: Config, words: Words) -> RunResult:
    """Do what the words ask for."""
    refuse_contradictions(config)
    refuse_model_file(config)
    from effdet.cli import scale_fit, scale_study  # torch: not before the words make sense

    if config.grid or config.compare:
        return scale_study.run(config, words)
    return scale_fit.run(config)


def refuse_contradictions(config: Config) -> None:
    """One thing is asked for, and wholly.

    Raises:
        ConfigError: it is not.
    """
    budgets, coefficients = _given(config, BUDGETS), _given(config, COEFFICIENTS)
    others = [*_given(config, ("phi", *COEFFICIENTS)), *(key for key in ("grid", "compare") if config.get(key))]
    problems = []
    if len(budgets) > 1:
        problems.append(f"{_shown(config, budgets)}: each is a budget; give one of them")
    if budgets and others:
        problems.append(f"{_shown(config, [*budgets[:1], *others])}: a budget chooses phi by itself; give one of them")
    if coefficients and len(coefficients) < len(COEFFICIENTS):
        missing = [key for key in COEFFICIENTS if key not in coefficients]
        problems.append(f"{_shown(config, coefficients)}: {' and '.join(missing)} must be given too")
    if config.grid and coefficients:
        problems.append(f"grid=true {_shown(config, coefficients)}: the grid finds coefficients; give one of them")
    if config.compare and not config.grid and not coefficients:
        problems.append("compare=true: of which coefficients? Give alpha=, beta= and gamma=, or grid=true to find them")
    if config.base_phi is not None and not (config.grid or coefficients):
        problems.append(f"base_phi={config.base_phi:g}: is the base of coefficients; for one model write phi=")
    if coefficients and not (config.grid or config.compare) and config.phi is None:
        problems.append(f"{_shown(config, coefficients)}: for how many steps? Give phi= too, or compare=true")
    if not budgets and not others:
        problems.append(f"nothing to do: give one of {', '.join(f'{key}=' for key in BUDGETS)}, phi= or grid=true")
    if problems:
        raise ConfigError(problems)


def _given(config: Config, keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if config.get(key) is not None]


def _shown(config: Config, keys: list[str]) -> str:
    return " ".join(f"{key}={str(config.get(key)).lower()}" for key in keys)
