"""The harness: turns, ratios, verdicts, the table, and one whole row between two processes of this project."""

import json

import numpy as np
import pytest

from benchmarks.pairing import BenchmarkError, Paired, Side, interleave
from benchmarks.rows import close, rows, same_detections, same_numbers
from benchmarks.table import Line, write_table


class Scripted:
    """A side whose runs last as long as told."""

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


def test_verdicts():
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
    lines = [Line("forward", "≤ 0.75", paired, "equal"), Line("loader", "–", note="not run: needs --coco")]
    write_table(lines, tmp_path / "b.json", threads=2)
    table = (tmp_path / "b.md").read_text()
    assert "**0.500**" in table and "500.0 / 1,000.0" in table and "1 / 2" in table and "not run" in table
    assert json.loads((tmp_path / "b.json").read_text())["rows"][0]["ratio"] == 0.5


def test_rows_name_known_sides(tmp_path):
    from benchmarks.pairing import HERE, PEERS

    for row in rows(tmp_path, "COCO").values():
        assert row.against == "ours" or (HERE / "peers" / PEERS[row.against][0]).exists()


@pytest.mark.slow
def test_two_processes_of_this_project_agree(tmp_path):
    from benchmarks.inputs import large_set

    large_set(tmp_path / "truth.json", tmp_path / "results.json", pictures=20)
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
