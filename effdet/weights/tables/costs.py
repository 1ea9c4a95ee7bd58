"""Parameters and multiply-adds (10^9, one image at the model's own size) of the published models.

Counted by :func:`effdet.model.count_cost`; a test holds the two together.
"""

COSTS: dict[str, tuple[int, float]] = {
    "tf_efficientdet_d0": (3_880_067, 2.492),
    "tf_efficientdet_d1": (6_625_898, 6.003),
    "tf_efficientdet_d2": (8_097_039, 10.832),
    "tf_efficientdet_d3": (12_032_296, 24.569),
    "tf_efficientdet_d4": (20_723_675, 54.584),
    "tf_efficientdet_d5": (33_653_315, 134.134),
    "tf_efficientdet_d6": (51_871_782, 224.121),
    "tf_efficientdet_d7": (51_871_782, 322.732),
    "tf_efficientdet_d7x": (77_147_166, 407.628),
    "tf_efficientdet_lite0": (3_243_470, 0.974),
    "tf_efficientdet_lite1": (4_248_318, 1.967),
    "tf_efficientdet_lite2": (5_252_334, 3.371),
    "tf_efficientdet_lite3": (8_350_862, 7.480),
    "tf_efficientdet_lite3x": (9_280_862, 13.978),
    "tf_efficientdet_lite4": (15_130_894, 20.168),
    "efficientdet_d0": (3_877_763, 2.492),
    "efficientdet_d1": (6_622_026, 6.003),
    "efficientdetv2_dt": (13_432_497, 26.420),
    "efficientdetv2_ds": (26_580_635, 91.312),
    "efficientdet_q0": (4_126_234, 2.710),
    "efficientdet_q1": (6_976_294, 6.502),
    "efficientdet_q2": (8_815_280, 12.326),
    "tf_efficientnet_b0": (5_288_548, 0.386),
    "tf_efficientnet_b1": (7_794_184, 0.687),
    "efficientnet_b1": (7_794_184, 0.940),
    "tf_efficientnet_b2": (9_109_994, 0.994),
    "efficientnet_b2": (9_109_994, 1.088),
    "tf_efficientnet_b3": (12_233_232, 1.827),
    "efficientnet_b3": (12_233_232, 1.961),
    "tf_efficientnet_b4": (19_341_616, 4.394),
    "efficientnet_b4": (19_341_616, 4.410),
    "tf_efficientnet_b5": (30_389_784, 10.266),
    "efficientnet_b5": (30_389_784, 9.404),
    "tf_efficientnet_b6": (43_040_704, 19.068),
    "tf_efficientnet_b7": (66_347_960, 37.746),
    "tf_efficientnet_b8": (87_413_142, 62.597),
    "tf_efficientnet_l2": (480_309_308, 475.704),
    "tf_efficientnet_lite0": (4_652_008, 0.385),
    "tf_efficientnet_lite1": (5_416_680, 0.600),
    "tf_efficientnet_lite2": (6_092_072, 0.860),
    "tf_efficientnet_lite3": (8_197_096, 1.383),
    "tf_efficientnet_lite4": (13_006_568, 2.553),
    "tf_efficientnetv2_b0": (7_139_704, 0.718),
    "tf_efficientnetv2_b1": (8_141_052, 1.197),
    "tf_efficientnetv2_b2": (10_096_086, 1.698),
    "tf_efficientnetv2_b3": (14_358_406, 3.011),
    "tf_efficientnetv2_s": (21_458_488, 8.366),
    "tf_efficientnetv2_m": (54_139_356, 24.582),
    "efficientnetv2_m": (54_139_356, 18.467),
    "tf_efficientnetv2_l": (118_515_272, 56.080),
    "tf_efficientnetv2_xl": (208_119_808, 93.353),
    "efficientnetv2_rw_t": (13_649_388, 3.160),
    "efficientnetv2_rw_s": (23_941_296, 8.640),
    "efficientnetv2_rw_m": (53_236_442, 21.332),
}
_V1 = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")
COSTS |= {f"tf_efficientdet_d{phi}_ap": COSTS[f"tf_efficientdet_d{phi}"] for phi in range(6)}
COSTS |= {f"torchvision_efficientnet_{kind}": COSTS[f"tf_efficientnet_{kind}"] for kind in _V1}
COSTS |= {f"torchvision_efficientnet_v2_{kind}": COSTS[f"tf_efficientnetv2_{kind}"] for kind in "sml"}
# Elsewhere timm evaluates at another size.
COSTS |= {f"efficientnet_{kind}": COSTS[f"tf_efficientnet_{kind}"] for kind in ("b0", "b6", "b7", "b8", "l2")}
COSTS |= {f"efficientnet_lite{phi}": COSTS[f"tf_efficientnet_lite{phi}"] for phi in range(5)}
COSTS |= {f"efficientnetv2_{kind}": COSTS[f"tf_efficientnetv2_{kind}"] for kind in ("s", "l", "xl")}
