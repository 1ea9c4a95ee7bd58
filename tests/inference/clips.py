"""Small videos as cameras, recorders and accidents leave them."""

from fractions import Fraction
from pathlib import Path

import numpy as np


def frame_image(index, height=48, width=64):
    """A bright square that moves over noise, so that every packet holds something."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[height // 2 :] = np.random.default_rng(index).integers(0, 256, (height - height // 2, width, 3))
    left = 2 * index % max(1, width - 20)
    image[4 : height // 2, left : left + 20] = (230, 200, 30)
    return image


def clip(
    path,
    count=25,
    *,
    codec="mpeg4",
    rate=25,
    times=None,
    start=0,
    size=(48, 64),
    pixels="yuv420p",
    options=None,
    form=None,
    rotation=0,
    images=None,
    tick=None,
):
    """A video of `count` frames.

    Args:
        path: of the file; its suffix decides the form.
        count: of frames.
        codec: encoder.
        rate: frames per second.
        times: of the frames, in ticks; None: 0, 1, 2, …
        start: ticks that all times begin later.
        size: (height, width).
        pixels: pixel format.
        options: of the encoder.
        form: options of the form.
        rotation: degrees that players turn it by, counter-clockwise.
        images: the frames, RGB.
        tick: seconds; None: 1 / rate.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    tick = Fraction(1, rate) if tick is None else tick
    with av.open(str(path), "w", options=form or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = tick
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(count):
            image = frame_image(index, *size) if images is None else images[index]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (index if times is None else times[index]) + start, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def packets(path):
    """(position, size) in the file of each packet of its video."""
    import av

    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def damage(path, index):
    """Turns all bits of a packet round."""
    position, size = packets(path)[index]
    content = bytearray(path.read_bytes())
    content[position : position + size] = bytes(value ^ 0xFF for value in content[position : position + size])
    path.write_bytes(content)
    return path


def cut(path, share, target=None):
    """The first part of a file."""
    content = path.read_bytes()
    target = target or path
    target.write_bytes(content[: int(len(content) * share)])
    return target


def joined(target, *paths):
    """Files one behind the other, as transport streams are joined."""
    Path(target).write_bytes(b"".join(path.read_bytes() for path in paths))
    return Path(target)


def audio_only(path):
    """A second of silence, without a video."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
