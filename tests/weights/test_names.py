"""The table of named weights is whole, and files are recognised by it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from effdet.model import spec_for
from effdet.weights import names
from effdet.weights.class_tables import NAMES
from effdet.weights.rows import Published
from heads.structures import UserError


def test_every_row_is_of_a_model_that_can_be_built_and_has_all_it_needs() -> None:
    rows = names.all_weights()
    assert len({row.name for row in rows}) == len(rows)
    assert len({row.file_name for row in rows}) == len(rows)
    for row in rows:
        spec = spec_for(row.model)
        assert spec.name == row.model
        assert row.classes is None or row.classes in NAMES
        assert row.sha256 is None or len(row.sha256) in (8, 64) and set(row.sha256) <= set("0123456789abcdef")
        assert row.licence
        assert all(address.startswith("https://") and address.endswith(row.file_name) for address in row.addresses)
        if "detection" in spec.heads:
            assert spec.preprocess.size == (row.size, row.size)
            if row.layout == "effdet":  # the architecture's table and this one were written apart
                pixels = spec.preprocess
                assert (pixels.mean, pixels.std) == row.pixels and pixels.fill == row.fill


def test_each_architecture_has_at_most_one_default() -> None:
    defaults = [row.model for row in names.all_weights() if row.default]
    assert len(defaults) == len(set(defaults))


def test_a_bare_name_means_the_default_and_a_tag_its_row() -> None:
    assert names.get("tf_efficientnet_b0").name == "tf_efficientnet_b0.ns_jft_in1k"
    assert names.get("tf_efficientnet_b0.aa_in1k").result == Published(
        "top1", 76.88, "results-imagenet.csv of timm, ImageNet-1k", 224
    )
    assert names.get("torchvision_efficientnet_b1").name == "torchvision_efficientnet_b1.v2"
    assert names.get("d0").name == "tf_efficientdet_d0" and names.get("b3").name == "tf_efficientnet_b3.ns_jft_in1k"
    assert names.for_model("efficientdet_lite0") == names.for_model("tf_efficientdet_lite0") != ()
    assert names.find("tf_efficientdet_d9") is None
    with pytest.raises(UserError, match=r"'tf_efficientdet_d9' is neither .* did you mean tf_efficientdet_d"):
        names.get("tf_efficientdet_d9")


def test_the_best_published_result_comes_first() -> None:
    rows = names.for_model("tf_efficientnet_b0")
    values = [row.result.value if row.result else 0.0 for row in rows]
    assert values == sorted(values, reverse=True) and rows[0].name == "tf_efficientnet_b0.ns_jft_in1k"


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("tf_efficientdet_d0_34-f153e0cf.pth", "tf_efficientdet_d0"),
        ("tf_efficientdet_d0_ap-d0cdbd0a.pth", "tf_efficientdet_d0_ap"),
        ("tf_efficientdet_d0_ap_mine.pth.tar", "tf_efficientdet_d0_ap"),
        ("efficientnetv2_rw_ds_agc-cf589293.pth", "efficientdetv2_ds"),
        ("tf_efficientnet_b0.ap_in1k.safetensors", "tf_efficientnet_b0.ap_in1k"),
        ("tf_efficientnet_b0_ns-c0e6a31c.pth", "tf_efficientnet_b0.ns_jft_in1k"),
        ("efficientnet_b0_rwightman-7f5810bc.pth", "torchvision_efficientnet_b0.v1"),
        ("efficientnet-b0-355c32eb.pth", "lukemelas/efficientnet-b0"),
        ("EfficientDet-Lite0.tflite", "google/efficientdet-lite0"),
        ("best.pth", None),
        ("tf_efficientnet_b0_mine.pth", None),  # which of its tags, the name does not say
    ],
)
def test_files_are_recognised_by_name(file_name: str, name: str | None) -> None:
    row = names.recognise(file_name)
    assert (row.name if row else None) == name


def test_the_checksum_goes_before_the_name() -> None:
    row = names.recognise("tf_efficientdet_d0_34-f153e0cf.pth", "f3276ba8" + "0" * 56)
    assert row is not None and row.name == "efficientdet_d0"


def test_fetching_reads_the_cache_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path))
    monkeypatch.setenv("EFFDET_OFFLINE", "1")
    row = names.get("tf_efficientdet_d0")
    with pytest.raises(UserError, match="EFFDET_OFFLINE"):
        row.fetch()
    path = tmp_path / "weights" / row.file_name
    path.parent.mkdir()
    path.write_bytes(b"x")
    assert row.cached() == path
    with pytest.raises(
        UserError, match="is not tf_efficientdet_d0: its sha256 does not begin with f153e0cf; delete it"
    ):
        row.fetch()
    same = replace(row, sha256=hashlib.sha256(b"x").hexdigest()[:8])
    assert same.verified() == path == same.fetch()
    with pytest.raises(UserError, match=r"has no address .* give the path of efficientdet-lite0\.tflite"):
        names.get("google/efficientdet-lite0").fetch()
