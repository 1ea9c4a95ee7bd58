"""Finding, checking, building and trusting what a ``_target_`` names."""

from __future__ import annotations

import functools
import sys
from datetime import date, timedelta

import pytest

from effdet.plugins import check, check_all, check_trust, instantiate, locate, make_importable, naming, targets
from heads.errors import UserError


def test_locate_finds_classes_functions_and_methods():
    assert locate("datetime.date") is date
    assert locate("datetime.date.fromisoformat")("2020-02-03") == date(2020, 2, 3)
    assert locate("importlib.util.find_spec").__name__ == "find_spec"


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        ("datetme.date", "there is no module datetme; did you mean datetime?; it must lie in the current folder"),
        ("datetime.dat", "datetime has no dat; did you mean date?"),
        ("datetime.date.fromisoforma", "datetime.date has no fromisoforma; did you mean fromisoformat?"),
        ("importlib.metadat.version", "importlib has no metadat; did you mean metadata?"),
        ("date", "must be the dotted name of a class or function"),
        ("a b.c", "must be the dotted name of a class or function"),
        (3, "must be the dotted name of a class or function"),
    ],
)
def test_locate_says_what_is_missing(target, lines):
    with pytest.raises(UserError) as error:
        locate(target)
    assert lines in str(error.value) and "\n" not in str(error.value)


def test_a_module_that_fails_is_not_called_missing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "needs_more.py").write_text("import surely_not_installed\n")
    (tmp_path / "broken.py").write_text("x = 1\nraise RuntimeError('at line\\ntwo')\n")
    with pytest.raises(UserError, match="importing needs_more failed: ModuleNotFoundError.*surely_not_installed.*py:1"):
        locate("needs_more.Thing")
    with pytest.raises(UserError, match=r"importing broken failed: RuntimeError: at line two \(.*broken.py:2\)"):
        locate("broken.Thing")


def test_instantiate_as_hydra_does():
    utils = pytest.importorskip("hydra.utils")
    for config in (
        {"_target_": "datetime.date", "year": 2020, "month": 2, "day": 3},
        {"_target_": "datetime.date", "_args_": [2020, 2, 3]},
        {
            "_target_": "builtins.dict",
            "a": {"_target_": "datetime.timedelta", "days": 2},
            "b": [{"_target_": "builtins.int"}],
        },
        {"_target_": "builtins.dict", "_recursive_": False, "a": {"_target_": "builtins.int"}},
    ):
        assert instantiate(config) == utils.instantiate(config, _convert_="all")
    assert instantiate({"_target_": "datetime.date", "_args_": [1, 1, 1]}, 2020, 2, day=3) == date(2020, 2, 3)
    partial = instantiate({"_target_": "datetime.timedelta", "_partial_": True, "days": 2})
    assert isinstance(partial, functools.partial) and partial(hours=1) == timedelta(days=2, hours=1)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"_target_": "json.dumps", "obj": 1, "indnt": 2}, None),
        ({"_target_": "json.loads"}, "missing a required argument: 's'"),
        ({"_target_": "bisect.insort_right", "a": [], "y": 1}, "takes no argument y"),
        (
            {"_target_": "textwrap.TextWrapper", "widht": 3},
            "takes no argument widht; did you mean width? (it takes width,",
        ),
        ({"_target_": "json.__doc__"}, "must be a class or function, and is a str"),
        ({"_target_": "json.dumps", "_args_": 3}, "_args_=3 must be a list"),
        ({"_target_": "json.dumps", "_partial_": "yes"}, "_partial_=yes must be true or false"),
        ({"_target_": "json.dumps", "obj": 1, "_convert_": "object"}, "_convert_=all"),
    ],
)
def test_signature_is_checked_without_a_call(config, line):
    if line is None:  # takes any keyword
        return check(config)
    with pytest.raises(UserError) as error:
        check(config)
    assert line in str(error.value)
    return None


def test_check_reaches_nested_targets_and_knows_what_the_caller_gives():
    check({"_target_": "bisect.insort_right"}, "sequence", x=None)
    nested = {"transforms": [{"_target_": "builtins.dict", "inner": {"_target_": "textwrap.TextWrapper", "tabs": 1}}]}
    with pytest.raises(UserError, match="takes no argument tabs"):
        check_all(nested)
    assert targets(nested) == ["builtins.dict", "textwrap.TextWrapper"]


def test_a_failing_call_is_one_line():
    with pytest.raises(UserError, match="_target_=datetime.date: the call failed: ValueError: month must be in 1..12"):
        instantiate({"_target_": "datetime.date", "_args_": [2020, 13, 1]})


def test_only_named_or_trusted_targets_of_a_file_pass():
    with pytest.raises(UserError, match="x.ckpt: imports pkg.Head, .*trust=true"):
        check_trust(["pkg.Head"], origin="x.ckpt", trust=False)
    check_trust(["pkg.Head"], origin="x.ckpt", trust=True)
    with pytest.raises(UserError, match=r"allow it by trust=true \(trust=True in Python\)$"):
        check_trust(["pkg.Head"], origin="x.ckpt", trust=False, again=False)
    check_trust([], origin="x.ckpt", trust=False)
    with naming(["pkg.Head"]):
        check_trust(["pkg.Head"], origin="x.ckpt", trust=False)
        with pytest.raises(UserError, match="imports pkg.Other, "):
            check_trust(["pkg.Head", "pkg.Other"], origin="x.ckpt", trust=False)
    with pytest.raises(UserError):
        check_trust(["pkg.Head"], origin="x.ckpt", trust=False)


def test_a_folder_made_importable_replaces_nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "json.py").write_text("")
    (tmp_path / "own_things_of_a_user.py").write_text("def thing(): return 5\n")
    make_importable(tmp_path)
    assert locate("json.dumps")({}) == "{}"
    assert instantiate({"_target_": "own_things_of_a_user.thing"}) == 5
