"""Every text arrives as it was typed: through Hydra's grammar and through OmegaConf's interpolation."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from effdet.cli.overrides import expand, quote, shape, split_choices, unquote

NASTY = [
    "",
    " ",
    "my images/a=b, c",
    "[x]{y}(z)",
    "it's",
    'say "hi"',
    "'",
    "\\",
    "\\\\",
    "\\'",
    "a\\'b\\\\'",
    "C:\\Users\\me\\",
    "C:\\Users\\me\\'\\",
    "https://host/a?b=c&d=[e],f",
    "${x}",
    "\\${x}",
    "\\\\${x}\\",
    "$${x}$",
    "${x",
    "${'a'}\\'",
    "日本/straße/ü",
    "a\nb\tc",
    "~",
    "null",
    "1e3",
    "true",
    "+a=1",
    "#no comment",
    "a: b",
    "*&!|>%@`",
]
PIECES = st.one_of(
    st.sampled_from(
        ["${", "${x}", "\\", "\\\\", "'", '"', "$", "{", "}", "[", "]", ",", "=", ":", "(", " ", "~", "#", "a", "\n"]
    ),
    st.characters(exclude_categories=["Cs"]),
)
TEXT = st.lists(PIECES, max_size=12).map("".join)


def arrives(value: str) -> str:
    """What a configuration holds after `quote`, Hydra and OmegaConf."""
    override = OverridesParser.create().parse_override(f"key={quote(value)}")
    config = OmegaConf.create({"key": override.value()})
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return container["key"]


@pytest.mark.parametrize("value", NASTY)
def test_nasty_text_arrives(value):
    assert arrives(value) == value


@settings(max_examples=200, deadline=None)
@given(TEXT)
@example("\\${\\'")
def test_any_text_arrives(value):
    assert arrives(value) == value


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert expand("~/data") == "/home/someone/data"
    assert expand("a~/data") == "a~/data"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("null", "null"),
        ("NULL", "null"),
        ("true", "bool"),
        ("0.1", "number"),
        ("-3", "number"),
        ("1e-3", "number"),
        (".5", "number"),
        ("5.", "number"),
        ("1_000", "number"),
        ("[1,2]", "list"),
        ("{a:1}", "dict"),
        ("1a", "text"),
        ("runs/x-1", "text"),
        ("", "text"),
        ("-", "text"),
    ],
)
def test_shape(value, expected):
    assert shape(value) == expected


@settings(deadline=None)
@given(TEXT)
def test_unquote_undoes_quote(value):
    parsed = OverridesParser.create().parse_override(f"key={quote(value)}")._value
    assert unquote(parsed.text) == value


@pytest.mark.parametrize(
    ("value", "choices"),
    [
        ("1,2, 3", ["1", "2", " 3"]),
        ("/a b,/c=d", ["/a b", "/c=d"]),
        ("'/a,b',/c", ["/a,b", "/c"]),
        ('"it\'s",b', ["it's", "b"]),
        ("it's,mine", ["it's", "mine"]),
        ("[a,b],[c]", ["[a,b]", "[c]"]),
        ("{a: 1, b: 2}", ["{a: 1, b: 2}"]),
        ("['x,y',z]", ["['x,y',z]"]),
        ("/a(1,/b", ["/a(1", "/b"]),
        ("/a),/b", ["/a)", "/b"]),
        (r"/a\,b,/c", ["/a,b", "/c"]),
        ("", [""]),
        ("a,", ["a", ""]),
    ],
)
def test_unquoted_commas_separate_choices(value, choices):
    assert split_choices(value) == choices
