"""What libraries say at every start and nobody can use."""

import logging


def hush_libraries() -> None:
    """Hold back single messages, by their words; everything else is still said. To be called before torch is there."""
    # Megatron-core imports torch's builder of extensions, which then looks for a compiler that it may never need.
    logging.getLogger("torch.utils.cpp_extension").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("No CUDA runtime is found")
