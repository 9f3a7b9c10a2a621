"""One image file as 8-bit pixels: the only place that decodes an image of a user."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".bmp",
    ".webp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
)
"""Of files that are read as images, in lower case; a file may have them in upper case too."""
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
"""What the content of such a file may be, whatever its suffix: no format that runs a program."""
BACKGROUND = (255, 255, 255, 255)
"""White, on which transparent pixels are composed."""

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF


class UnreadableImageError(ValueError):
    """An image is damaged, too large, or of a kind whose values have no known range."""


def read_image(
    path: Path, size: int, mode: str, max_pixels: int, *, resized: bool = True
) -> np.ndarray:
    """Return an image's centre square, resized: uint8 (size, size, 3), or (size, size) if grey.

    Values of 16 bits keep their upper 8, transparency is composed onto white, the orientation
    that a camera noted is applied, and an animation is its first frame. Colour profiles are not
    applied.

    Args:
        path: the file.
        size: height and width in pixels.
        mode: RGB, or L for grey.
        max_pixels: that an image may have; more are refused before they are decoded.
        resized: whether an image of another size is resized; else it is refused.

    Raises:
        UnreadableImageError: it cannot be read; the sentence names the file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its size is checked here, other doubts are no faults
            with Image.open(path, formats=FORMATS) as image:
                _check_size(image, max_pixels)
                ImageOps.exif_transpose(image, in_place=True)
                found = _opaque(_eight_bits(image)).convert(mode)
    except Exception as error:  # Pillow's parsers raise whatever a damaged file leads them to
        reason = f"image {str(path)!r} cannot be read ({_why(error)})"
        raise UnreadableImageError(reason) from error
    if found.size != (size, size):
        if not resized:
            shape = f"{found.width} x {found.height}"
            raise UnreadableImageError(
                f"image {str(path)!r} has {shape} pixels; allowed: {size} x {size}"
            )
        side = min(found.size)
        left, top = (found.width - side) // 2, (found.height - side) // 2
        square = (left, top, left + side, top + side)
        found = found.resize((size, size), Image.Resampling.LANCZOS, box=square)
    return np.asarray(found)


def _why(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"its content is none of {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ValueError(
            f"it has {image.width:,} x {image.height:,} pixels; allowed: at most {max_pixels:,}, "
            "which is data.max_image_pixels"
        )


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image of 16 bits a value with the upper 8 of them; others as they are."""
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ValueError("its values have no known range; allowed: 8 or 16 bits, unsigned")
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode not in (*_SIXTEEN_BITS, "I"):
        return image
    tags = getattr(image, "tag_v2", {})
    bits = int(tags.get(_BITS_PER_SAMPLE, (16,))[0])  # scanners write 10, 12 or 14 too
    values = (np.asarray(image).astype(np.int64) >> (bits - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts images of 8 bits only
        values = 255 - values
    grey = Image.fromarray(values)
    if isinstance(key, int):
        grey.info["transparency"] = key >> (bits - 8)
    return grey


def _opaque(image: Image.Image) -> Image.Image:
    """Compose an image with transparent pixels onto the background."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, BACKGROUND), layer)
