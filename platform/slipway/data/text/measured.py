"""The measures of a model's loss on text, for all kinds of data whose samples are sequences of tokens. No torch."""

from collections.abc import Mapping, Sequence

from slipway.config.schema import RunConfig
from slipway.data.held_out import HeldOut, Wanted
from slipway.data.tokens import tokens_of
from slipway.errors import UserError

RULES = (
    "Each document is read by itself, after an end mark. Windows of {context} tokens: the first predicts all of its "
    "tokens, each later one the next {stride} after as many as there is room for; each token is predicted once. "
    "Bytes are those of the text in UTF-8, words what lies between white space; the loss of the mark at a document's "
    "end {marks}. perplexity: e to the mean loss of a token."
)


class MeasuredText:
    """Text on which a model's loss can be measured (see slipway.data.held_out.Measured)."""

    def in_windows(self, config: RunConfig, wanted: Wanted) -> RunConfig:
        """Return the run's configuration, with samples of another length if one is wanted."""
        update = {"sequence_length": wanted.context} if wanted.context else {}
        return config.model_copy(update={"data": tokens_of(config).model_copy(update=update)})

    def check_wanted(self, config: RunConfig, wanted: Wanted) -> None:
        """Raise UserError for a stride that would skip tokens."""
        length = tokens_of(config).sequence_length
        if wanted.stride and wanted.stride > length:
            raise UserError(
                "stride",
                f"would skip tokens, because it is longer than a window of {length}",
                value=wanted.stride,
                use=f"at most {length}",
            )

    def check_there(self, wanted: Wanted) -> None:
        """Raise UserError for files that are missing or have no readable type."""
        from slipway.data.text.held_out import found

        for entry in wanted.files:
            found(entry, wanted.text_key)

    def held_out(self, config: RunConfig, wanted: Wanted) -> Sequence[HeldOut]:
        """Read files, or the validation split, and return their samples.

        Raises UserError if one cannot be read or holds no text.
        """
        from slipway.data.text.held_out import read

        self.check_wanted(config, wanted)
        return read(config, wanted)

    def measures(
        self, parts: Sequence[HeldOut], losses: Sequence[float]
    ) -> Mapping[str, Mapping[str, float]]:
        """Return perplexity, bits per byte, and perplexity per byte and per word."""
        from slipway.data.text.held_out import told

        return told(parts, losses)

    def rules(self, config: RunConfig, wanted: Wanted) -> str:
        """Return sentences that say how documents are read, and what counts."""
        length = tokens_of(config).sequence_length
        return RULES.format(
            context=length,
            stride=wanted.stride or length,
            marks="counts, as a token and not as bytes" if wanted.end_marks else "does not count",
        )
