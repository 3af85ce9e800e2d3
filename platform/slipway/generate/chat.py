"""A conversation with a model, written as the run's chat template writes it. Imports no torch."""

from collections.abc import Sequence
from typing import NamedTuple

from slipway.config.schema import RunConfig
from slipway.data.chat.conversation import Malformed, read_conversation
from slipway.data.chat.template import Message, Rejected
from slipway.data.chat.tokenizer import ChatTokenizer
from slipway.data.text.vocabulary import Vocabulary
from slipway.errors import UserError
from slipway.generate.request import check_length
from slipway.models.text import Reach


class Chat(NamedTuple):
    """The messages so far, with the tokenizer that writes them."""

    tokenizer: ChatTokenizer
    vocabulary: Vocabulary
    messages: Sequence[Message] = ()

    def say(self, role: str, content: str) -> "Chat":
        """Return the conversation with one more message."""
        return self._replace(messages=[*self.messages, {"role": role, "content": content}])

    def prompt(self, reach: Reach) -> list[int]:
        """Return the tokens after which the assistant speaks.

        Raises UserError if the template rejects the messages, or they are too long for the model.
        """
        try:
            said = read_conversation({"messages": list(self.messages)}, "messages", self.tokenizer.special)
            written = self.tokenizer.render(said, add_generation_prompt=True)
        except (Malformed, Rejected) as error:
            raise UserError("text", str(error)) from None
        tokens = self.vocabulary.encode(written, special_tokens=True)
        check_length(len(tokens), reach)
        return tokens


def chat_of(config: RunConfig, vocabulary: Vocabulary) -> Chat:
    """Return an empty conversation with a run's model. Raises UserError if the run has no chat template."""
    if vocabulary.chat_template is None:
        raise UserError(
            "generate --chat",
            f"needs a chat template, but none was found beside {vocabulary.path}",
            do="put a chat_template.jinja there, or train on data.kind=chat, which writes one",
        )
    date = getattr(getattr(config.data, "tokenizer", None), "date", None)
    return Chat(ChatTokenizer(vocabulary.path, date=date), vocabulary)
