import pytest
from PIL import Image

from effdet.inference.sources import find_images, is_video
from heads.structures import UserError


@pytest.fixture
def directory(tmp_path):
    for name in ("b.jpg", "a.PNG", "sub/c.webp", ".cache/d.jpg", "out/b.jpg", "notes.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path, "PNG")
    return tmp_path


def names(found, directory):
    return [path.relative_to(directory).as_posix() for path in found]


def test_a_file_a_folder_and_a_pattern(directory):
    assert find_images(str(directory / "notes.md")) == [directory / "notes.md"]  # as named; its content decides
    assert names(find_images(str(directory)), directory) == ["a.PNG", "b.jpg", "out/b.jpg", "sub/c.webp"]
    assert names(find_images(str(directory / "*.jpg")), directory) == ["b.jpg"]
    assert names(find_images(str(directory / "**/*.jpg")), directory) == ["b.jpg", "out/b.jpg"]


def test_our_own_results_are_left_out(directory):
    assert names(find_images(str(directory), leave_out=directory / "out"), directory) == [
        "a.PNG",
        "b.jpg",
        "sub/c.webp",
    ]
    assert len(find_images(str(directory), leave_out=directory)) == 4


def test_a_list_keeps_its_order(directory):
    (directory / "some.txt").write_text(f"# mine\nsub/c.webp\n\n{directory}/a.PNG\n")
    assert names(find_images(str(directory / "some.txt")), directory) == ["sub/c.webp", "a.PNG"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("none.jpg", "no such image, folder, pattern or video"),
        ("*.tif", "no such image, folder, pattern or video"),
        ("empty", "a folder without images"),
        ("bad.txt", "bad.txt, line 2: gone.jpg: no such image"),
        ("blank.txt", "names no image"),
        ("binary.txt", "binary.txt: byte 0x00 at position 2 .* is not UTF-16-LE: save the file as UTF-8"),
    ],
)
def test_errors(directory, source, text):
    (directory / "empty").mkdir()
    (directory / "bad.txt").write_text("b.jpg\ngone.jpg\n")
    (directory / "blank.txt").write_text("# nothing\n")
    (directory / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=text) as caught:
        find_images(str(directory / source))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source", ["a.mp4", "X.MOV", "0", "camera:1", "/dev/video0", "rtsp://h/x", "https://h/a.mp4?b=1"]
)
def test_videos_are_known_by_name(source):
    assert is_video(source)


@pytest.mark.parametrize("source", ["a.jpg", "frames", "*.mp4x", "a*.jpg", "list.txt", "C:/images"])
def test_images_are_no_videos(source):
    assert not is_video(source)
