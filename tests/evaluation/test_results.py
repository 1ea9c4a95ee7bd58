import json
import os

import numpy as np
import pytest

from effdet.evaluation import EvaluationResult, write_json, write_results


def test_files(tmp_path):
    result = EvaluationResult({"AP": 0.5, "mIoU": float("nan"), "per_class": {}}, [{"image_id": 1}], 4, 2.0)
    paths = write_results(result, tmp_path / "new")
    assert [path.name for path in paths] == ["metrics.json", "predictions.json"]
    metrics = json.loads(paths[0].read_text())
    assert metrics["AP"] == 0.5 and metrics["mIoU"] is None
    assert (metrics["images"], metrics["seconds"], metrics["images_per_second"]) == (4, 2.0, 2.0)
    assert json.loads(paths[1].read_text()) == [{"image_id": 1}]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["metrics.json", "predictions.json"]


def test_no_predictions_file_without_boxes(tmp_path):
    assert [p.name for p in write_results(EvaluationResult({"top1": 1.0}, [], 1, 1.0), tmp_path)] == ["metrics.json"]
    assert len(write_results(EvaluationResult({"AP": 0.0}, [], 1, 1.0), tmp_path)) == 2


def test_what_json_lacks_becomes_plain(tmp_path):
    value = {"a": np.float32(0.5), 1: np.arange(2), "b": (np.int64(3), float("inf")), "path": tmp_path}
    path = write_json(tmp_path / "x.json", value)
    assert json.loads(path.read_text()) == {"a": 0.5, "1": [0, 1], "b": [3, None], "path": str(tmp_path)}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_json(tmp_path / "x.json", [1])
    with pytest.raises(TypeError):
        write_json(path, object())
    assert json.loads(path.read_text()) == [1]
    assert os.listdir(tmp_path) == ["x.json"]
