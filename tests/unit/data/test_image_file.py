import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffrop.config import MAX_IMAGE_PIXELS
from diffrop.data.image_file import UnreadableImageError, read_image
from tests.made.faults import fault

RAMP = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (16, 1))
RGB = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1)
SIXTEEN = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)


def read(
    path: Path, size: int = 16, mode: str = "RGB", limit: int = MAX_IMAGE_PIXELS
) -> np.ndarray:
    return read_image(path, size, mode, limit)


def png_bytes(width: int, height: int, kind: int, rows: list[bytes], *extra: bytes) -> bytes:
    """A PNG of 16 bits a value, written by hand: Pillow writes colours of 8 bits only."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", head), *(chunk(b"tRNS", data) for data in extra)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IDAT", body), chunk(b"IEND", b"")])


def tiff_bytes(values: np.ndarray, bits: int, photometric: int) -> bytes:
    """An uncompressed grey TIFF of little-endian 16-bit values."""
    data = values.astype("<u2").tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    tags |= {278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


@fault(38, "images of 16 bits, transparent, turned, of CMYK, of several frames")
def test_grey_of_16_bits_keeps_the_upper_8(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(SIXTEEN).save(path)
    np.testing.assert_array_equal(read(path, mode="L"), SIXTEEN // 256)
    np.testing.assert_array_equal(read(path), np.repeat(SIXTEEN[..., None] // 256, 3, axis=2))


def test_colours_of_16_bits_keep_the_upper_8(tmp_path: Path) -> None:
    colours = np.stack([SIXTEEN, SIXTEEN.T, 65535 - SIXTEEN], axis=-1)
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(16, 16, 2, [row.astype(">u2").tobytes() for row in colours]))
    np.testing.assert_array_equal(read(path), colours // 256)


@pytest.mark.parametrize(("kind", "num_values"), [(0, 1), (2, 3)])
def test_transparent_colour_of_16_bits_turns_white(
    tmp_path: Path, kind: int, num_values: int
) -> None:
    pixels = np.full((4, 4, num_values), 0x1234, np.uint16)
    pixels[0, 0] = 0x9876
    rows = [row.astype(">u2").tobytes() for row in pixels]
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(4, 4, kind, rows, struct.pack(">H", 0x9876) * num_values))
    found = read(path, 4)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 1].tolist() == [0x12, 0x12, 0x12]


@pytest.mark.parametrize("big_endian", [False, True])
def test_tiff_of_16_bits_is_scaled_in_either_byte_order(tmp_path: Path, big_endian: bool) -> None:
    path = tmp_path / "a.tif"
    image = Image.fromarray(SIXTEEN)
    if big_endian:
        image = Image.frombytes("I;16B", (16, 16), SIXTEEN.astype(">u2").tobytes())
    image.save(path)
    np.testing.assert_array_equal(read(path, mode="L"), SIXTEEN // 256)


def test_tiff_whose_zero_is_white_is_inverted(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    path.write_bytes(tiff_bytes(SIXTEEN, 16, photometric=0))
    np.testing.assert_array_equal(read(path, mode="L"), 255 - SIXTEEN // 256)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_a_known_range_are_refused(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.ones((8, 8), dtype)).save(path)
    with pytest.raises(UnreadableImageError, match=r"a\.tif' cannot be read \(its values have no"):
        read(path)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_is_composed_onto_white(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    alpha = pixels[..., 3:] / 255
    expected = alpha * pixels[..., :3] + (1 - alpha) * 255
    assert np.abs(read(path) - expected).max() <= 1


def test_hidden_colours_of_palette_grey_and_gif_turn_white(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(8)
    palette.info["transparency"] = palette.getpixel((0, 0))
    hidden = np.asarray(palette) == palette.getpixel((0, 0))
    shown = np.asarray(palette.convert("RGB"))
    for suffix in ("png", "gif"):
        palette.save(tmp_path / f"a.{suffix}", transparency=palette.info["transparency"])
        found = read(tmp_path / f"a.{suffix}")
        assert (found[hidden] == 255).all()
        np.testing.assert_array_equal(found[~hidden], shown[~hidden])
    grey = np.stack([RAMP, np.where(RAMP > 99, 255, 0).astype(np.uint8)], axis=-1)
    Image.fromarray(grey, "LA").save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        read(tmp_path / "grey.png", mode="L"), np.where(RAMP > 99, RAMP, 255)
    )


TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}
"""How a stored picture is shown, by the number that EXIF 2.3 gives its orientation."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_orientation_of_the_camera_is_applied(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(RGB).save(path, exif=exif, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read(path), TURNED[orientation](RGB))


def test_orientation_of_16_bits_and_of_transparency_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SIXTEEN).save(tmp_path / "a.png", exif=exif)
    expected = np.rot90(SIXTEEN // 256, -1)
    np.testing.assert_array_equal(read(tmp_path / "a.png", mode="L"), expected)


def test_cmyk_and_palette_have_their_colours(tmp_path: Path) -> None:
    blocks = np.zeros((16, 16, 3), np.uint8)
    blocks[:8, :8], blocks[:8, 8:], blocks[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    Image.fromarray(blocks).convert("CMYK").save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), blocks)
    Image.fromarray(blocks).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - blocks).max() <= 4
    Image.fromarray(blocks).quantize(8).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), blocks)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_first_of_several_frames_is_read(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("red", "lime"))
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(path, save_all=True, append_images=[second], **options)  # type: ignore[arg-type]
    assert read(path).reshape(-1, 3).max(axis=0).tolist() == [255, 0, 0]


@fault(38, "an image of 81 or 400 million pixels")
@pytest.mark.parametrize("side", [9_000, 20_000])
def test_image_above_the_limit_is_refused_by_its_head_alone(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bytes(side, side, 0, []))  # decoding it would find no row at all
    with pytest.raises(UnreadableImageError, match=r"bomb\.png' cannot be read \(.*pixels"):
        read(path)


def test_limit_can_be_raised(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (40, 30)).save(path)
    with pytest.raises(UnreadableImageError, match=r"40 x 30 pixels; allowed: at most 1,199"):
        read(path, limit=1_199)
    assert read(path, limit=1_200).shape == (16, 16, 3)


def test_content_that_runs_a_program_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(UnreadableImageError, match=r"\(its content is none of PNG, JPEG, "):
        read(path)


@fault(38, "images of seven kinds cut short and with flipped bits")
def test_damage_of_any_kind_is_one_sentence_with_the_path(tmp_path: Path) -> None:
    """Every file cut at several places, and flipped bits: pixels, or the one error."""
    rng = np.random.default_rng(0)
    for suffix in ("png", "jpg", "gif", "webp", "tif", "bmp", "ppm"):
        path = tmp_path / f"whole.{suffix}"
        Image.fromarray(RGB).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        versions = [whole[: len(whole) * part // 8] for part in range(8)]
        for _ in range(20):
            flipped = whole.copy()
            flipped[rng.integers(0, len(whole), 8)] ^= rng.integers(1, 256, 8, dtype=np.uint8)
            versions.append(flipped)
        for version in versions:
            path.write_bytes(version.tobytes())
            try:
                assert read(path).shape == (16, 16, 3)
            except UnreadableImageError as error:
                assert str(error).startswith(f"image '{path}' cannot be read (")
                assert "\n" not in str(error)
