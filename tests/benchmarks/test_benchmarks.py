"""The harness: turns, ratios, results, the table, and one whole row between two processes of this project."""

import json

import numpy as np
import pytest

from benchmarks import table
from benchmarks.growth import deviation, draw
from benchmarks.pairing import BenchmarkError, Paired, Side, interleave
from benchmarks.peers import loop
from benchmarks.rows import close, rows, same_detections, same_numbers
from benchmarks.series import Series, measure
from benchmarks.table import Line


class Scripted:
    """A side whose runs last as long as reported."""

    def __init__(self, name, seconds, turns):
        self.name, self.seconds, self.turns = name, iter(seconds), turns

    def ask(self, do):
        if do == "memory":
            return {"memory": {"now": 0, "peak": 300}}
        self.turns.append(self.name)
        return {"seconds": next(self.seconds)}


def test_sides_take_turns_and_a_slow_spell_hits_both():
    turns = []
    ours = Scripted("ours", [9, 9, 1, 10, 1], turns)
    peer = Scripted("peer", [9, 9, 2, 20, 4], turns)
    paired = interleave(ours, peer, (100, 200), rounds=3)  # type: ignore[arg-type]
    assert turns[4:] == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert paired.ratios == [0.5, 0.5, 0.25] and paired.ratio == 0.5
    assert (paired.ours_bytes, paired.peer_bytes) == (200, 100)


def test_short_work_is_repeated(monkeypatch):
    clock, calls = [100.0], []

    def work(seconds):
        calls.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    assert loop.turn(lambda: work(0.125)) == 0.125 and len(calls) == 4  # half a second
    calls.clear()
    assert loop.turn(lambda: work(3.0)) == 3.0 and len(calls) == 1


def test_results():
    one = {"logits": np.array([1.0, -2.0])}
    assert "DIFFERENT" not in close(one, {"logits": one["logits"] + 1e-6})
    assert "DIFFERENT" in close(one, {"logits": one["logits"] + 0.1})
    box = np.array([[0, 0, 9, 9, 0.5, 3], [0, 0, 9, 9, 0.4, 7]], np.float32)
    faint = np.concatenate([box, [[0, 0, 9, 9, 0.0005, 1]]]).astype(np.float32)
    assert same_detections({"detections": box}, {"detections": faint}).startswith("equal")
    assert same_detections({"detections": box[:1]}, {"detections": faint}).startswith("DIFFERENT")
    assert same_detections({"detections": box * [1, 1, 1, 1, 1, 2]}, {"detections": faint}).startswith("DIFFERENT")
    assert "DIFFERENT" in same_numbers({"AP": np.array(0.5)}, {"AP": np.array(0.51)})


def test_the_table_tells_ratio_and_machine(tmp_path):
    paired = Paired((0.5, 0.5, 0.25), (1.0, 1.0, 1.0), 2**20, 2**21)
    lines = [Line("f", "forward", "≤ 0.75", paired, "equal"), Line("l", "loader", "–", note="not run: needs --coco")]
    text = table.as_markdown(table.HEAD, (line.cells() for line in lines))
    assert "**0.500**" in text and "500.0 / 1,000.0" in text and "1 / 2 = 0.50" in text and "not run" in text
    assert lines[0].short() == ["forward", "≤ 0.75", "**0.500**", "500.0 / 1,000.0", "0.50"]
    rows = [line.to_dict() | {"load": [1.0, 2.5], "date": "2020-01-01"} for line in lines]
    table.write_json(tmp_path / "b.json", table.machine(2), rows)
    assert json.loads((tmp_path / "b.json").read_text())["rows"][0]["ratio"] == 0.5
    assert list(table.read_rows(tmp_path / "b.json")) == ["f", "l"] and table.read_rows(tmp_path / "no.json") == {}
    assert (
        "threads 2" in (note := table.conditions(table.machine(2), rows))
        and "load average while it ran 1.0 to 2.5" in note
    )


def test_the_table_goes_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    table.put_between_marks(page, "one")
    page.write_text("above\n" + page.read_text() + "below\n")
    table.put_between_marks(page, "two")
    assert page.read_text() == "above\n<!-- benchmarks -->\ntwo\n<!-- /benchmarks -->\nbelow\n"


def test_a_row_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    from benchmarks import __main__ as command

    def compare(row, directory, options):
        if row.case == "forward":
            raise BenchmarkError("cannot install it\nno | network")
        return Paired((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 1, 2), "equal"

    monkeypatch.setattr(command, "_compare", compare)
    overrides = [
        "b",
        "forward",
        "--rows",
        "predict,postprocess",
        "--out",
        str(tmp_path / "b"),
        "--readme",
        str(tmp_path / "r.md"),
    ]
    monkeypatch.setattr("sys.argv", overrides)
    command.main()
    reported = capsys.readouterr().out
    assert (
        "failed: no / network" in reported
        and "predict: " in reported
        and "not run: needs --coco and --lite0" in reported
    )
    monkeypatch.setattr("sys.argv", ["b", "train", "--out", str(tmp_path / "b")])
    command.main()  # rows of the earlier run stay
    assert set(table.read_rows(tmp_path / "b.json")) == {"forward", "predict", "postprocess", "train"}
    assert "not run" in (tmp_path / "b.md").read_text() and "0.500" in (tmp_path / "r.md").read_text()
    monkeypatch.setattr("sys.argv", ["b", "nothing"])
    with pytest.raises(SystemExit, match="no such row"):
        command.main()


def test_a_line_and_what_lies_off_it(tmp_path):
    assert deviation([1, 2, 10], [3, 5, 21]) == pytest.approx(0, abs=1e-9)
    assert deviation([1, 2, 3, 4], [1, 2, 3, 8]) > 0.3  # a cliff at the end
    assert deviation([0, 10], [0, 0]) == 0
    series = [Series("a", "A", "things", (1, 2, 3), (0.1, 0.2, 0.3), (10, 20, 30))] * 2
    draw(series, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_measured_work_has_a_time_and_a_peak():
    seconds, peak = measure(lambda: np.ones(4_000_000).sum(), rounds=1)
    assert seconds > 0 and 24e6 < peak < 80e6


def test_rows_name_known_sides(tmp_path):
    from benchmarks.pairing import HERE, PEERS

    for row in rows(tmp_path, "COCO").values():
        assert row.against == "ours" or (HERE / "peers" / PEERS[row.against][0]).exists()


@pytest.mark.slow
def test_two_processes_of_this_project_agree(tmp_path):
    from benchmarks.inputs import large_set

    large_set(tmp_path / "truth.json", tmp_path / "results.json", images=20)
    arguments = {"truth": str(tmp_path / "truth.json"), "results": str(tmp_path / "results.json")}
    answers = {}
    with Side.ours(1) as one, Side.ours(1) as other:
        for side, backend in ((one, "hotcoco"), (other, "pycocotools")):
            side.ask(do="prepare", case="evaluation", arguments=arguments | {"backend": backend})
        assert interleave(one, other, (0, 0), rounds=2).ratio > 0
        for side, name in ((one, "one"), (other, "other")):
            side.ask(do="answer", path=str(tmp_path / f"{name}.npz"))
            answers[name] = dict(np.load(tmp_path / f"{name}.npz"))
        with pytest.raises(BenchmarkError, match="nothing"):
            one.ask(do="prepare", case="nothing", arguments={})
    assert same_numbers(answers["one"], answers["other"]).startswith("equal")
