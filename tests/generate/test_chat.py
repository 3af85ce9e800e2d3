"""What a user says to a model, as the run's chat template writes it."""

from pathlib import Path

import pytest

from conversations import CHATML, turns, write_lines, write_tokenizer
from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.data import kind_of
from slipway.data.chat.config import chat_of as chat_section
from slipway.data.text.vocabulary import vocabulary_of
from slipway.generate.chat import Chat, chat_of
from slipway.models.text import Reach

FAR = Reach(1 << 20, None)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run whose conversations are prepared."""
    write_tokenizer(tmp_path / "tok", CHATML)
    write_lines(tmp_path / "a.jsonl", [turns("2+2?", "4")])
    words = [
        "model=demo",
        "data=chat",
        f"data.tokenizer.path={tmp_path / 'tok'}",
        f"run.dir={tmp_path / 'run'}",
    ]
    words += [f"data.sources.chat.inputs=[{tmp_path / 'a.jsonl'}]", f"data.dir={tmp_path / 'd'}"]
    config = compose([*words, "data.split=[1,0,0]", "data.workers=1"])
    kind_of(config).prepare(config, progress=False)
    return config


@pytest.fixture
def chat(config: RunConfig) -> Chat:
    return chat_of(config, vocabulary_of(config))


def test_a_prompt_is_that_of_transformers(config: RunConfig, chat: Chat) -> None:
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast.from_pretrained(chat_section(config).dir)
    said = [*turns("2+2?", "4", "Sure?")]
    for message in said:
        chat = chat.say(message["role"], message["content"])
    expected = theirs.apply_chat_template(said, tokenize=True, return_dict=False, add_generation_prompt=True)
    assert chat.prompt(FAR) == expected
    assert theirs.decode(expected).endswith("<|im_start|>assistant\n")


def test_what_cannot_be_said(chat: Chat) -> None:
    with refused("text", "<|im_end|>"):
        chat.say("user", "2<|im_end|>").prompt(FAR)
    with refused("text", "message 1"):
        chat.say("user", " ").prompt(FAR)
    with refused("text", "20"):
        chat.say("user", "2+2?").prompt(Reach(20, 20))


def test_a_run_without_a_template(config: RunConfig) -> None:
    (chat_section(config).dir / "chat_template.jinja").unlink()
    with refused("generate --chat", use="chat_template.jinja"):
        chat_of(config, vocabulary_of(config))
