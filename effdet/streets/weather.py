"""What the air and the camera do to a finished image: wet mirrors, glow, rain, grain, a hint of compression."""

from __future__ import annotations

import math

import cv2
import numpy as np

from effdet.streets.canvas import Glow
from effdet.streets.labels import Label
from effdet.streets.light import Light


def mirror_ground(image: np.ndarray, label_ids: np.ndarray, light: Light, horizon: float) -> np.ndarray:
    """Wet ground mirrors what stands upon it: each ground pixel looks up past the foot of what is above it.

    For an upright thing the mirror image hangs below its foot, so the row that ground row r shows is 2 * foot - r.
    """
    height = label_ids.shape[0]
    rows = np.arange(height)[:, None]
    ground = (label_ids == Label.ROAD) | (label_ids == Label.SIDEWALK)
    foot = np.maximum.accumulate(np.where(ground, 0, rows), axis=0)
    source = np.clip(2 * foot - rows, 0, height - 1)
    mirrored = np.take_along_axis(image, source[..., None].repeat(3, 2), axis=0)
    smear = max(3, round(height * 0.03)) | 1
    mirrored = cv2.blur(mirrored, (max(1, round(height * 0.006)) | 1, smear))
    below = np.clip((rows / height - horizon) / (1 - horizon), 0, 1)
    share = (0.62 - 0.36 * below) * light.wet * np.where(label_ids == Label.ROAD, 1.0, 0.6)
    share = cv2.blur((share * ground).astype(np.float32), (3, 3)) * ground
    return image + (mirrored - image) * share[..., None]


def roughen(image: np.ndarray, label_ids: np.ndarray, rng: np.random.Generator, light: Light) -> np.ndarray:
    """Mottles walls and leaves a little: nothing outdoors is of one colour. `image` is float32."""
    height, width = label_ids.shape
    table = np.zeros((256, 2), np.float32)
    table[[Label.BUILDING, Label.WALL]] = (0.034, 0.012)
    table[[Label.VEGETATION, Label.TERRAIN]] = (0.07, 0.11)
    table *= math.exp(-light.density * 50)  # the air hides it
    coarse = cv2.resize(
        rng.standard_normal((24, 24), dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    cells = max(8, min(height, 190))
    fine = cv2.resize(
        rng.standard_normal((cells, cells), dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    gain = 1.0 + coarse * cv2.LUT(label_ids, table[:, 0]) + fine * cv2.LUT(label_ids, table[:, 1])
    return cv2.multiply(image, cv2.merge([gain, gain, gain]))


def add_glow(image: np.ndarray, glows: list[Glow], light: Light) -> None:
    """Halos around lamps, in place: a bright core and a wide skirt, wider in rain and fog. `image` is float32."""
    if not glows or light.lit <= 0.15:
        return
    height, width = image.shape[:2]
    small_h, small_w = max(8, height // 4), max(8, width // 4)
    veil = np.zeros((small_h, small_w, 3), np.float32)
    thick = 1.0 + 26.0 * light.density
    for point, radius, colour, depth in glows:
        x, y = point[0] * small_h + small_w / 2, point[1] * small_h
        reach = max(1.0, radius * small_h * 3.4 * thick)
        half = int(reach * 2.6) + 1
        x0, x1, y0, y1 = int(x) - half, int(x) + half + 1, int(y) - half, int(y) + half + 1
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(small_w, x1), min(small_h, y1)
        if x0 >= x1 or y0 >= y1:
            continue
        dx = (np.arange(x0, x1) + 0.5 - x) / reach
        dy = (np.arange(y0, y1) + 0.5 - y) / reach
        bell = np.exp(-1.3 * (dx[None] ** 2 + dy[:, None] ** 2))
        strength = light.lit * 0.72 * np.exp(-light.density * depth * 0.6) * min(1.0, radius * height / 1.2)
        veil[y0:y1, x0:x1] += bell[..., None] * np.array(colour, np.float32) * strength
    image += cv2.resize(veil, (width, height), interpolation=cv2.INTER_LINEAR)


def rain(image: np.ndarray, rng: np.random.Generator, light: Light) -> None:
    """Streaks of falling drops in three distances, in place. `image` is float32."""
    height, width = image.shape[:2]
    slant = rng.normal(0, 0.12)
    veil = np.zeros((height, width), np.uint8)
    for count, length, value in ((150, 0.025, 46), (90, 0.05, 62), (26, 0.10, 80)):
        count = int(count * width / height)
        start = rng.random((count, 2)) * [width / height + 0.2, 1.1] - [0.1, 0.1]
        long = length * rng.uniform(0.6, 1.3, count)
        stop = start + np.stack([long * slant, long], 1)
        lines = np.rint(np.stack([start, stop], 1) * height * 16).astype(np.int32)
        cv2.polylines(veil, list(lines), False, value, max(1, round(height * 0.0016)), cv2.LINE_AA, 4)
    veil = cv2.GaussianBlur(veil, (0, 0), max(0.4, height * 0.0011))
    tint = np.array(light.haze, np.float32) * 0.5 + 90 * (0.35 + max(light.ambient))
    share = veil.astype(np.float32)[..., None] / 255
    image += (np.clip(tint, 0, 255) - image) * share


def develop(image: np.ndarray, rng: np.random.Generator, light: Light) -> np.ndarray:
    """The camera: exposure, colour cast, vignette, lens blur, grain, compression. float32 (H, W, 3) -> uint8."""
    height, width = image.shape[:2]
    gain = rng.uniform(0.93, 1.07) * (1.12 if light.time == "night" else 1.0)
    cast = 1.0 + rng.normal(0, 0.014, 3)
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    fall = 1.0 - rng.uniform(0.10, 0.26) * (x[None] ** 2 + y[:, None] ** 2)
    contrast = rng.uniform(1.0, 1.10)
    tint = (gain * contrast * cast).astype(np.float32)
    image = cv2.multiply(image, (fall[..., None] * tint).astype(np.float32))
    image += 116 * (1 - contrast)
    # A soft shoulder keeps lamps and sky from clipping hard.
    image = np.minimum(image, image * 0.62 + 76)
    blur = rng.uniform(0.0, 0.0017) * height
    if blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    grain = {"day": 1.5, "dusk": 2.6, "night": 4.2}[light.time] * rng.uniform(0.6, 1.3)
    noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(grain)
    other = np.roll(noise, (7, 11), (0, 1))
    image += cv2.merge([noise + 0.5 * other, noise - 0.3 * other, noise + 0.4 * other])
    image = cv2.convertScaleAbs(np.maximum(image, 0.0))
    quality = int(rng.integers(74, 97))
    done, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not compress an image")
    opened = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert opened is not None
    return np.ascontiguousarray(opened[..., ::-1])
