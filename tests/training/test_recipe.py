"""The recipe: what is chosen for which set, weights and budget."""

from dataclasses import replace

import pytest

from effdet.training.recipe import Facts, auto, choose, paper


def values(**facts):
    return {key: choice.value for key, choice in auto(Facts(**facts)).items()}


@pytest.mark.parametrize(
    ("images", "batch", "steps_an_epoch"), [(1, 4, 1), (98, 4, 25), (205, 4, 52), (800, 16, 50), (118_287, 16, 7_393)]
)
def test_few_images_make_small_batches_and_many_epochs(images, batch, steps_an_epoch):
    found = values(images=images, weights="backbone")
    assert found["batch_limit"] == batch
    # 5,000 steps, within 30 to 200 epochs
    assert found["trainer.max_epochs"] == min(max(-(-5_000 // steps_an_epoch), 30), 200)


def test_several_processes_and_accumulated_batches_share_a_step():
    assert values(images=1_600, batches=4)["batch_limit"] == 8
    assert values(images=1_600, batches=1)["batch_limit"] == 16


def test_what_the_user_or_the_set_says_of_the_budget_holds():
    found = values(images=200, epochs=12, batch_size=8, usual_epochs=3)
    assert (found["trainer.max_epochs"], found["batch_limit"]) == (12, 8)
    assert found["optimizer.warmup_steps"] == 15  # a twentieth of 300 steps
    assert found["ema"] == pytest.approx(1 - 1 / 15, abs=1e-4)
    assert values(images=200, usual_epochs=3)["trainer.max_epochs"] == 3
    limited = values(images=200, epochs=-1, steps=2_000)
    assert (limited["trainer.max_epochs"], limited["optimizer.warmup_steps"], limited["ema"]) == (-1, 100, 0.99)
    endless = values(images=200, epochs=-1)  # a limit on time
    assert (endless["optimizer.warmup_steps"], endless["optimizer.schedule"]) == (250, "constant")
    assert limited["optimizer.schedule"] == "cosine"


def test_weights_of_a_detector_are_treated_with_care():
    backbone = values(weights="backbone")
    model = values(weights="model", known=False, new=True)
    known = values(weights="model", known=True, new=False)
    some = values(weights="model", known=True, new=True)
    rates = [found["optimizer.lr"] for found in (backbone, model, some, known)]
    assert rates == sorted(rates, reverse=True) and rates[1] == 3e-4
    assert (backbone["freeze"], model["freeze"], known["freeze"]) == (None, ["bn"], ["bn"])
    assert (backbone["optimizer.backbone_lr_scale"], model["optimizer.backbone_lr_scale"]) == (1.0, 0.1)
    assert model["augment"] == known["augment"] == "light"


@pytest.mark.parametrize(
    ("images", "epochs", "rate"),
    [(100, 12, 3e-5), (200, 12, 2e-5), (200, 48, 4e-6), (1_600, 12, 7e-5), (118_287, 12, 7e-5)],
)
def test_weights_that_know_all_classes_travel_as_far_as_the_images_warrant(images, epochs, rate):
    assert values(images=images, epochs=epochs, weights="model", known=True, new=False)["optimizer.lr"] == rate


def test_what_a_head_is_trained_on_follows_its_weights():
    def chosen(**facts):
        return {key.rpartition(".")[2]: value for key, value in values(**facts).items() if key.startswith("head.")}

    soft = {"matcher", "tal_smallest", "classes", "box", "box_by_score", "normalizer"}
    one = {"scales_per_octave", "aspects"}
    assert chosen(weights="none").keys() == chosen(weights="backbone").keys() == soft | one
    few = chosen(weights="none", images=100, epochs=12)  # 300 steps
    assert few.keys() == {"matcher", "box"} | one and few["matcher"] == "atss"
    assert chosen(weights="none", named=True).keys() == soft  # a published model keeps its anchors
    assert chosen(weights="model", images=100, epochs=12).keys() == soft
    assert not chosen(weights="model", known=True)
    assert chosen(task="segmentation") == {"class_weights": "sqrt", "lovasz": 0.5}
    assert not chosen(task="classification")


def test_segmentation_takes_small_batches_and_a_long_flat_rate():
    found = values(task="segmentation", weights="backbone", images=367, epochs=8)
    assert (found["batch_limit"], found["optimizer.lr"], found["optimizer.schedule"]) == (2, 1.5e-3, "flat_cosine")
    assert found["ema"] == pytest.approx(1 - 20 / 1_472, abs=1e-4)
    assert values(task="segmentation", images=10_000)["batch_limit"] == 16


def test_a_short_run_of_segmentation_has_no_stochastic_depth():
    assert values(task="segmentation", images=367, epochs=8)["backbone.drop_path"] == 0
    assert "backbone.drop_path" not in values(task="segmentation", images=367, epochs=50)
    assert "backbone.drop_path" not in values(task="segmentation", images=367, epochs=8, external=True)


@pytest.mark.parametrize(("task", "preset"), [("detection", "default"), ("classification", "flip_crop")])
def test_the_papers_values(task, preset):
    found = {key: choice.value for key, choice in paper(Facts(task=task, weights="model", images=10)).items()}
    assert found == {
        "optimizer": "sgd", "trainer.max_epochs": 50, "batch_limit": None, "ema": 0.9998, "ema_ramp": True, "freeze": None,
        "data.repeat_threshold": None, "augment": preset,
    }  # fmt: skip
    assert choose("paper", Facts(task=task)) == paper(Facts(task=task))
    assert paper(Facts(usual_epochs=3))["trainer.max_epochs"].value == 3


def test_every_choice_has_a_reason():
    for facts in (Facts(), Facts(weights="model"), Facts(task="segmentation"), Facts(task="classification")):
        for choice in auto(replace(facts, images=7)).values():
            assert choice.reason and not choice.reason.endswith(".")
