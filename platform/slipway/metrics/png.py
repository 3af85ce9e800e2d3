"""Pictures as PNG with a caption inside, by Pillow."""

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_CAPTION = "Description"  # one of the registered keywords: PNG specification, third edition, section 11.3.3.1


def encode(pixels: "np.ndarray", caption: str) -> bytes:
    """Return a losslessly compressed PNG of uint8 pixels [height, width, 3] (red, green, blue) with its caption."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == "uint8", (pixels.shape, pixels.dtype)
    told = PngInfo()
    told.add_itxt(_CAPTION, caption)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=told)
    return file.getvalue()


def caption(content: bytes) -> str:
    """Return the caption of a file that `encode` made. Raises ValueError if the file is incomplete or another's."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            told = image.info.get(_CAPTION)
            image.verify()  # checks every chunk; Image.open reads only what precedes the pixels
    except UnidentifiedImageError:
        raise ValueError("it is no PNG") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"it is not whole: {error}") from None
    if told is None:
        raise ValueError("it has no caption")
    return str(told)
