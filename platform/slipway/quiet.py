"""Messages that libraries print at every start and that are of use to nobody."""

import logging


def hush_libraries() -> None:
    """Hide single messages, chosen by their text; everything else is still printed.

    Call it before torch is imported.
    """
    # Megatron-core imports torch's builder of extensions, which then looks for a compiler that it may never need.
    logging.getLogger("torch.utils.cpp_extension").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("No CUDA runtime is found")
