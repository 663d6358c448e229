"""Pictures as open_clip prepares them, for every shape and mode; a file of no use is one line."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL.Image import Image as Picture

from rep_edge.errors import InputError
from rep_edge.runtime.inputs.images import MOST_PIXELS, prepare_image, read_image
from rep_edge.signals import Image

IMAGE = Image(name="picture")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F")


def photograph(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Broad light, edges and grain: [height, width, 4], the last one transparency."""
    r = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(2 * np.pi * (r.uniform(0.5, 9) * x + r.uniform(0.5, 9) * y) + r.uniform(0, 6)) for _ in range(4)]
    edges = [np.where(r.uniform(-1, 1) * x + r.uniform(-1, 1) * y > r.uniform(-0.3, 0.3), 50, -50) for _ in range(4)]
    light = 128 + 70 * np.stack(waves, -1) + np.stack(edges, -1) + r.normal(0, 6, (height, width, 4))
    clipped: NDArray[np.uint8] = light.clip(0, 255).astype(np.uint8)
    return clipped


def in_mode(values: NDArray[np.uint8], mode: str) -> Picture:
    grey = values[..., 0].astype(int)
    wide = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}
    if mode in wide:
        return PIL.Image.fromarray((grey * 257).astype(wide[mode]))
    if mode == "PA":
        picture = PIL.Image.fromarray(values[..., :3]).convert("P").convert("PA")
        picture.putalpha(PIL.Image.fromarray(values[..., 3]))
        return picture
    if mode == "LAB":
        return PIL.Image.frombytes("LAB", values.shape[1::-1], values[..., :3].tobytes())
    return PIL.Image.fromarray(values).convert(mode)


def reference(picture: Picture, modality: Image) -> NDArray[np.float32]:
    open_clip = pytest.importorskip("open_clip")
    transform = open_clip.image_transform(
        modality.size,
        is_train=False,
        mean=modality.mean,
        std=modality.std,
        resize_mode=modality.resize,
        interpolation=modality.interpolation,
    )
    values: NDArray[np.float32] = transform(picture).numpy()
    return values


def require_equal(picture: Picture, modality: Image) -> None:
    """Equal to the last digit but one: far below the 1/255 that one step of a colour is."""
    values = prepare_image(picture, modality)
    assert (values.dtype, values.shape) == (np.float32, modality.shape)
    assert values.flags.c_contiguous
    np.testing.assert_allclose(values, reference(picture, modality), atol=1e-6)


WAYS = [(resize, kernel) for resize in ("shortest", "squash") for kernel in ("bicubic", "bilinear")]


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize(("resize", "interpolation"), WAYS)
@pytest.mark.parametrize("size", [224, 336])
def test_photographs_as_open_clip(name: str, resize: str, interpolation: str, size: int) -> None:
    samples = pytest.importorskip("sklearn.datasets").load_sample_image(name)
    modality = Image(name="picture", size=size, resize=resize, interpolation=interpolation)
    for values in (samples, samples.transpose(1, 0, 2), samples[:, :301], samples[:97]):
        require_equal(PIL.Image.fromarray(np.ascontiguousarray(values)), modality)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("resize", "interpolation"), WAYS)
def test_modes_as_open_clip(mode: str, resize: str, interpolation: str) -> None:
    modality = Image(name="picture", size=48, resize=resize, interpolation=interpolation)
    for width, height in [(200, 131), (131, 200), (48, 48), (20, 33)]:
        require_equal(in_mode(photograph(width, height), mode), modality)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 64),
    st.sampled_from(WAYS),
    st.sampled_from(["L", "RGB", "RGBA", "P", "CMYK"]),
)
def test_shapes_as_open_clip(width: int, height: int, size: int, way: tuple[str, str], mode: str) -> None:
    modality = Image(name="picture", size=size, resize=way[0], interpolation=way[1])
    require_equal(in_mode(photograph(width, height, seed=width + height), mode), modality)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (225, 224), (224, 1000)])
def test_tiny_and_odd_as_open_clip(size: tuple[int, int]) -> None:
    require_equal(in_mode(photograph(*size), "RGB"), IMAGE)


def test_large_as_open_clip() -> None:
    require_equal(in_mode(np.tile(photograph(400, 300), (10, 10, 1)), "RGB"), IMAGE)


def test_other_mean_and_std() -> None:
    modality = Image(name="picture", size=32, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 1.0))
    require_equal(in_mode(photograph(64, 48), "RGB"), modality)


def test_a_picture_that_is_one_colour() -> None:
    values = prepare_image(PIL.Image.new("RGB", (640, 480), (255, 0, 51)), IMAGE)
    expected = (np.array([1.0, 0.0, 0.2]) - IMAGE.mean) / IMAGE.std
    np.testing.assert_allclose(values, np.broadcast_to(expected[:, None, None], values.shape), atol=1e-6)


def test_a_picture_too_narrow_to_scale() -> None:
    with pytest.raises(InputError, match=r"^picture: a picture of 3000 x 1 pixels is too narrow to be scaled; cut"):
        prepare_image(PIL.Image.new("L", (3000, 1)), IMAGE)
    assert prepare_image(PIL.Image.new("L", (3000, 1)), Image(name="picture", resize="squash")).shape == IMAGE.shape


def saved(path: Path, picture: Picture, **options: object) -> Path:
    picture.save(path, **options)
    return path


FILES = [
    *(("jpg", mode) for mode in ("L", "RGB", "CMYK")),
    *(("png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *(("webp", mode) for mode in ("RGB", "RGBA")),
    *(("tiff", mode) for mode in ("L", "RGBA", "CMYK", "LAB")),
    *(("gif", "P"), ("bmp", "RGB"), ("ppm", "RGB"), ("pgm", "L")),
]


@pytest.mark.filterwarnings("ignore:Palette images")  # of the reference
@pytest.mark.parametrize(("suffix", "mode"), FILES)
def test_files_as_open_clip(tmp_path: Path, suffix: str, mode: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", in_mode(photograph(90, 60), mode))
    modality = Image(name="picture", size=32)
    with PIL.Image.open(path) as picture:
        expected = reference(picture, modality)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(prepare_image(read_image(path), modality), expected, atol=1e-6)


def test_a_palette_with_transparency_is_no_matter_of_a_warning(tmp_path: Path) -> None:
    picture = in_mode(photograph(90, 60), "P")
    path = saved(tmp_path / "a.png", picture, transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = prepare_image(read_image(path), IMAGE)
    np.testing.assert_allclose(values, reference(picture, IMAGE), atol=1e-6)


@pytest.mark.parametrize(("suffix", "mode"), [("png", "I;16"), ("tiff", "I;16"), ("tiff", "I;16B")])
def test_grey_of_16_bits_looks_as_it_does_in_8(tmp_path: Path, suffix: str, mode: str) -> None:
    """open_clip's own conversion makes it white, which is of no use to anybody."""
    values = photograph(90, 60)
    picture = read_image(saved(tmp_path / f"a.{suffix}", in_mode(values, mode)))
    require_equal(picture, IMAGE)
    np.testing.assert_array_equal(np.asarray(picture), values[..., 0])


def test_colour_of_16_bits(tmp_path: Path) -> None:
    values = photograph(9, 6)[..., :3]
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).astype(">u2").tobytes() for row in values)
    path = tmp_path / "a.png"
    path.write_bytes(png(9, 6, depth=16, colour=2, data=zlib.compress(rows)))
    np.testing.assert_array_equal(np.asarray(read_image(path)), values)


def test_orientation_and_further_pictures_are_left_alone(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    assert read_image(saved(tmp_path / "a.jpg", in_mode(photograph(90, 60), "RGB"), exif=exif)).size == (90, 60)
    first, second = (in_mode(photograph(90, 60, seed), "L") for seed in (1, 2))
    several = read_image(saved(tmp_path / "a.gif", first, save_all=True, append_images=[second]))
    np.testing.assert_array_equal(np.asarray(several.convert("L")), np.asarray(first))


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def refused(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that the user sees, without the file's name; nothing else is written anywhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            prepare_image(read_image(path), IMAGE)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    assert capfd.readouterr() == ("", "")
    return line.removeprefix(f"{path}: ")


def test_no_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(tmp_path / "a.jpg", capfd) == "no such file"
    assert refused(tmp_path, capfd) == "is a folder; name a picture"
    assert refused(tmp_path / ("a" * 5000), capfd) == "no such file"
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe", capfd) == "no such file"


@pytest.mark.parametrize(
    "content", [b"", b"a", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg></svg>", b"\x00" * 4096, b"\xff\xd8"]
)
def test_no_picture(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert refused(path, capfd).startswith("is no picture, or damaged; known are JPEG, PNG")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_this_user_may_not_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "a.png", in_mode(photograph(9, 6), "L"))
    path.chmod(0)
    assert refused(path, capfd) == "cannot be read (Permission denied); give this user the right to"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tiff", "bmp", "ppm"])
def test_a_file_that_is_cut_off(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / f"a.{suffix}", in_mode(photograph(90, 60), "P" if suffix == "gif" else "RGB"))
    content = path.read_bytes()
    for share in (0.2, 0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        assert "damaged" in refused(path, capfd)


def test_a_file_that_unpacks_to_too_much(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    for side in (10_000, 12_000, 30_000, 2**31 - 1):
        path.write_bytes(png(side, side, depth=8, colour=2, data=zlib.compress(bytes(1000))))
        told = refused(path, capfd)
        assert told == "has more than 134 million pixels; scale it down" if side**2 > MOST_PIXELS else "damaged" in told


def test_numbers_without_white(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for mode in ("I", "F"):
        path = saved(tmp_path / "a.tiff", in_mode(photograph(9, 6), mode))
        assert refused(path, capfd).startswith("holds numbers of 32 bits, of which none is white; save it with 8 bits")


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["jpeg", "png", "webp", "gif", "tiff", "bmp", "ppm", "avif"]), st.data())
def test_whatever_is_in_a_file(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    """A damaged file is a picture or one line, never another error and never a warning."""
    stream = io.BytesIO()
    in_mode(photograph(12, 9), "P" if kind == "gif" else "RGB").save(stream, kind)
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = prepare_image(read_image(path), Image(name="picture", size=8))
        except InputError as error:
            told = str(error)
        else:
            told = f"{values.shape}"
    assert told == "(3, 8, 8)" or (told.startswith(f"{path}: ") and "\n" not in told)
