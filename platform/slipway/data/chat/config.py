"""The fields of conf/data/*.yaml for the kind `chat`."""

import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from slipway.config.schema import RunConfig
from slipway.config.section import Folder, Section, SourceName, SourceSection
from slipway.data.tokens import TokenSection


class Tokenizer(Section):
    """The tokenizer of conversations, with its chat template."""

    path: Folder = Field(
        description="tokenizer.json, or the folder that holds it; tokenizer_config.json and chat_template.jinja "
        "are read from the same folder."
    )
    template: Path | None = Field(
        default=None, description="File of the chat template (Jinja); null: the one beside tokenizer.json."
    )
    date: datetime.date | None = Field(
        default=None,
        description="Date that a template receives if it asks for today's; null: such a template is refused.",
    )


class Source(SourceSection):
    """One source of conversations."""

    inputs: list[str] = Field(min_length=1, description="Files of JSON lines, or folders of them.")
    messages_key: str = Field(default="messages", description="Field of a line that holds the messages.")


class Config(TokenSection):
    """Sources of conversations, prepared by `slipway data` into dir, read by training."""

    kind: Literal["chat"] = Field(default="chat", description="Conversations.")
    dir: Folder = Field(
        description="Folder of the prepared data: tokenizer.json, chat_template.jinja, manifest.json and "
        "SOURCE.bin/.idx/.loss of each source."
    )
    tokenizer: Tokenizer
    sources: dict[SourceName, Source] = Field(
        min_length=1, description="Sources by name; their prepared files carry the same name."
    )
    split: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = Field(
        default=(0.98, 0.01, 0.01),
        description="Shares of the conversations for training, validation and test.",
    )
    long: Literal["cut", "leave_out", "refuse"] = Field(
        default="cut", description="What to do with a conversation of more than sequence_length + 1 tokens."
    )
    malformed: Literal["refuse", "leave_out"] = Field(
        default="refuse",
        description="What to do with a line that is not a valid conversation (docs/chat.md lists the reasons).",
    )
    workers: PositiveInt | None = Field(
        default=None, description="Processes that prepare data; null: one per core."
    )

    @property
    def apart(self) -> str:
        """The override of this kind: conversations never see each other (see slipway.data.tokens.TokenSection)."""
        return "data.kind=chat"


def chat_of(config: RunConfig) -> Config:
    """Return the section `data` of a run that reads conversations."""
    assert isinstance(config.data, Config), f"data.kind is {config.data.kind}"
    return config.data
