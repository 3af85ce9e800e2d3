"""A run's model as a model of lm-evaluation-harness. Imports torch and lm_eval, which takes seconds.

Texts become tokens as in training, without special tokens: what a text holds is text. A context begins with an end mark
only if it is empty, as lm-evaluation-harness's own models do.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from slipway.data.text.vocabulary import Vocabulary
from slipway.errors import UserError
from slipway.models.text import TextModel

LOGITS_AT_ONCE = 1 << 25
"""Logits that are computed at once: 128 MiB in fp32."""
GENERATED = 256
"""Tokens at most if a task names no number (lm_eval.models.huggingface.HFLM.max_gen_toks)."""

Pair = tuple[tuple[str, str] | None, list[int], list[int]]


class RunModel(TemplateLM):
    """A model of a checkpoint behind the interface lm_eval.api.model.LM."""

    def __init__(
        self,
        model: TextModel,
        vocabulary: Vocabulary,
        length: int,
        tell: Callable[[str, int, int], None],
    ) -> None:
        """Take a model that reads at most `length` tokens, and its vocabulary, which must have an end mark.

        tell: called with the kind of requests, how many are done, and of how many.
        """
        super().__init__()
        assert vocabulary.end_of_document is not None
        self.model, self.vocabulary, self.length, self.tell = model, vocabulary, length, tell
        self.end = vocabulary.end_of_document

    @property
    def eot_token_id(self) -> int:
        """The end mark, which also stands in place of an empty context."""
        return self.end

    @property
    def max_length(self) -> int:
        """The largest number of tokens that the model reads."""
        return self.length

    @property
    def tokenizer_name(self) -> str:
        """The name that cached requests would have; none are cached."""
        return str(self.vocabulary.path)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Return the tokens of a text, without special tokens before or after it."""
        return self.vocabulary.encode(string)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return each continuation's log-likelihood and whether it is the greedy one, without a progress bar."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(self, requests: Sequence[Pair], **kwargs: Any) -> list[tuple[float, bool]]:
        """Return each continuation's log-likelihood, and whether each of its tokens is the likeliest one.

        The longest requests come first, so that those in a batch are about equally long.
        """
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i][1]) - len(requests[i][2]))
        found: list[tuple[float, bool]] = [(0.0, True)] * len(requests)
        done = 0
        while done < len(order):
            self.tell("requests", done, len(order))
            longest = requests[order[done]]
            width = min(self.length, len(longest[1]) + len(longest[2]) - 1)
            rows = max(1, LOGITS_AT_ONCE // (max(width, 1) * self.model.vocab_size))
            batch = order[done : done + rows]
            for i, result in zip(batch, self._batch([requests[i] for i in batch]), strict=True):
                found[i] = result
            done += len(batch)
        return found

    def _batch(self, requests: Sequence[Pair]) -> list[tuple[float, bool]]:
        """Return the results of one batch, whose rows are padded at the end, where no earlier token sees it.

        Raises UserError if a continuation is longer than the model reads.
        """
        texts = [(context + continuation)[-(self.length + 1) :] for _, context, continuation in requests]
        for _, context, continuation in requests:
            if len(continuation) > self.length:
                raise UserError(
                    "evaluate --tasks",
                    f"asks for the likelihood of {len(continuation)} tokens at once, but the model reads "
                    f"{self.length}",
                    use="a task with shorter answers, or loglikelihood_rolling",
                )
            assert context
        tokens = torch.full((len(texts), max(map(len, texts)) - 1), self.end, dtype=torch.int64)
        for row, text in zip(tokens, texts, strict=True):
            row[: len(text) - 1] = torch.tensor(text[:-1])
        scores = torch.log_softmax(self.model.logits(tokens.to(self.model.device)), -1)
        found = []
        for of_text, text, (_, _, continuation) in zip(scores, texts, requests, strict=True):
            if not continuation:
                found.append((0.0, True))
                continue
            asked = of_text[len(text) - 1 - len(continuation) : len(text) - 1]
            labels = torch.tensor(continuation, device=asked.device)
            greedy = bool((asked.argmax(-1) == labels).all())
            found.append((float(asked.gather(-1, labels[:, None]).sum()), greedy))
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text.

        It is read in windows of the model's length, each with one token of context.
        """
        pairs: list[Pair] = []
        counts = []
        for request in requests:
            cut = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.length,
                context_len=1,
            )
            windows: list[Pair] = [(None, *make_disjoint_window(pair)) for pair in cut]
            pairs += windows
            counts.append(len(windows))
        found = iter(self._loglikelihood_tokens(pairs))
        return [sum(next(found)[0] for _ in range(count)) for count in counts]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the greedy text after each context, up to the first of its stop sequences.

        Raises UserError if a task asks for text drawn at random.
        """
        end = self.vocabulary.decode([self.end])
        texts = []
        for number, request in enumerate(requests):
            self.tell("texts", number, len(requests))
            context, asked = cast("tuple[str, dict[str, Any]]", request.args)
            settings: dict[str, Any] = {**normalize_gen_kwargs(asked, GENERATED)}
            if settings.get("do_sample"):
                raise UserError(
                    "evaluate --tasks",
                    "asks for text drawn at random (do_sample)",
                    use="a task with greedy text",
                )
            until = handle_stop_sequences(settings["until"], eos=end)
            text = self._text(self.tok_encode(context), int(settings["max_gen_toks"]), until)
            texts.append(postprocess_generated_text(text, stop=until, think_end_token=None))
        return texts

    def _text(self, context: list[int], most: int, until: Sequence[str]) -> str:
        room = self.length - most
        if room < 1:
            raise UserError(
                "evaluate --tasks",
                f"asks for {most} tokens of text, but the model reads {self.length} in all",
                do="set generation_kwargs.max_gen_toks in the task",
            )
        tokens = torch.tensor([(context or [self.end])[-room:]], device=self.model.device)
        reading = self.model.begin(1, tokens.shape[1] + most)
        said: list[int] = []
        while len(said) < most:
            following = reading.read(tokens).argmax(-1)
            said.append(int(following))
            if said[-1] == self.end or any(one and one in self.vocabulary.decode(said) for one in until):
                break
            tokens = following[:, None]
        return self.vocabulary.decode(said)
