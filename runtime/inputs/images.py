"""A picture from a file, and as the model takes it: scaled, cut and normalised as open_clip does."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError
from rep_edge.signals import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""Formats by Pillow's names. Not all it knows: some, such as EPS, start another program."""

MOST_PIXELS = 1 << 27
"""Pixels of a picture, as it stands in a file or scaled on the way; Pillow holds that many colour pixels in 512 MiB."""

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_WITHOUT_WHITE = ("I", "F")


def read_image(path: Path) -> Picture:
    """The picture in a file, the first one where it holds several, with the colours it is stored with.

    Colours become red, green and blue only after the scaling, in `prepare_image`, because open_clip does it in that
    order and transparent and palette pictures come out differently otherwise. As there, an EXIF orientation is not
    followed and an embedded colour profile is not applied. Unlike there, 16-bit grey is brought to 8 bits by its upper
    byte: open_clip's own conversion turns all of it above 255 of 65535 white.

    Raises InputError for a file that is not there, no picture of a known kind, damaged, cut off or larger than
    MOST_PIXELS.
    """
    import PIL.Image

    if os.path.isdir(path):
        raise InputError(f"{path}: is a folder; name a picture")
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            # Pillow tells of odd metadata and large pictures on standard error; the errors below are for people.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            with PIL.Image.open(path, formats=KINDS) as picture:
                _require_size(path, picture)
                picture.load()
    except InputError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except PIL.UnidentifiedImageError as error:
        raise InputError(f"{path}: is no picture, or damaged; known are {', '.join(KINDS)}") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give this user the right to") from error
    # A damaged file can end in any error of a decoder.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: is damaged or cut off ({reason}); copy it again") from error
    # Pillow would warn at the conversion to RGB that it drops it.
    picture.info.pop("transparency", None)
    return _eight_bit(path, picture)


def prepare_image(picture: Picture, modality: Image) -> NDArray[np.float32]:
    """The picture float32 [3, size, size]: scaled, for "shortest" cut to its centre, and normalised.

    Equals open_clip's evaluation transform (open_clip 3.3, transform.py, with torchvision's roundings) for a picture in
    any of Pillow's modes. Raises InputError for one so narrow that it would be scaled to more than MOST_PIXELS.
    """
    from PIL.Image import Resampling

    kernel = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}[modality.interpolation]
    size = _scaled_size(picture.size, modality)
    if picture.size != size:
        picture = picture.resize(size, kernel)
    picture = picture.crop(_centre(size, modality.size)).convert("RGB")
    values = np.asarray(picture, np.float32).transpose(2, 0, 1) / np.float32(255)
    mean, std = (np.array(three, np.float32)[:, None, None] for three in (modality.mean, modality.std))
    return np.ascontiguousarray((values - mean) / std)


def _scaled_size(size: tuple[int, int], modality: Image) -> tuple[int, int]:
    """Width and height after scaling; torchvision rounds the longer side down."""
    if modality.resize == "squash":
        return modality.size, modality.size
    width, height = size
    longer = int(modality.size * max(size) / min(size))
    if modality.size * longer > MOST_PIXELS:
        raise InputError(
            f"{modality.name}: a picture of {width} x {height} pixels is too narrow to be scaled; cut a part out of it"
        )
    return (modality.size, longer) if width <= height else (longer, modality.size)


def _centre(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the square in the middle; torchvision rounds a half to the even pixel."""
    left, top = (round((length - side) / 2) for length in size)
    return left, top, left + side, top + side


def _require_size(path: Path, picture: Picture) -> None:
    if 0 in picture.size:
        raise InputError(f"{path}: the picture has no pixels; save it again")
    if picture.width * picture.height > MOST_PIXELS:
        raise _too_large(path)


def _too_large(path: Path) -> InputError:
    return InputError(f"{path}: has more than {MOST_PIXELS / 1e6:.0f} million pixels; scale it down")


def _eight_bit(path: Path, picture: Picture) -> Picture:
    import PIL.Image

    if picture.mode in _WITHOUT_WHITE:
        raise InputError(f"{path}: holds numbers of 32 bits, of which none is white; save it with 8 bits a colour")
    if picture.mode in _SIXTEEN_BIT:
        return PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture
