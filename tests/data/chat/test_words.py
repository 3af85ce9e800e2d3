"""What the loss is of: by hand for real forms of templates, and as transformers marks it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations import CHATML, LLAMA3, MARKED, turns, write_tokenizer
from refusals import refused
from slipway.data.chat.template import Rejected
from slipway.data.chat.tokenizer import ChatTokenizer
from slipway.errors import UserError

TEXTS = [
    "the cat sat on the mat. ",
    "  naïve  東京 🚀",
    "a\n\n  b\tc",
    "<|im|> [INST] the\n",
    "e\u0301 ½ the mat",
]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ChatTokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    return {
        name: ChatTokenizer(write_tokenizer(folder / name, source, TEXTS * 3))
        for name, source in {"chatml": CHATML, "llama3": LLAMA3, "marked": MARKED}.items()
    }


def learnt(tokenizer: ChatTokenizer, messages: list[dict[str, str]]) -> str:
    """The conversation as its tokens say it, brackets around what the loss is of."""
    [encoded] = tokenizer.encode([tokenizer.words(messages)])
    pieces, inside = [], False
    for token, loss in zip(encoded.tokens.tolist(), encoded.loss.tolist(), strict=True):
        pieces += [] if loss == inside else ["[" if loss else "]"]
        inside = loss
        pieces.append(tokenizer.library.decode([token], skip_special_tokens=False))
    return "".join(pieces) + ("]" if inside else "")


SAID = turns("2+2?", "4", "Sure?", "Yes. ", system="Be brief.")
BY_HAND = {
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n[4<|im_end|>]\n<|im_start|>user\nSure?<|im_end|>\n"
        "<|im_start|>assistant\n[Yes. <|im_end|>]\n"
    ),
    "llama3": (
        "<|bos|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[4<|eot_id|>]"
        "<|start_header_id|>user<|end_header_id|>\n\nSure?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[Yes.<|eot_id|>]"
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(tokenizers: dict[str, ChatTokenizer], name: str) -> None:
    assert learnt(tokenizers[name], SAID) == BY_HAND[name]


def test_the_default_system_prompt_is_nobodys_words(tokenizers: dict[str, ChatTokenizer]) -> None:
    found = learnt(tokenizers["chatml"], turns("2+2?", "4"))
    assert found.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user")
    assert found.count("[") == 1


def test_a_turn_that_nobody_answers_is_read(tokenizers: dict[str, ChatTokenizer]) -> None:
    for name in BY_HAND:
        found = learnt(tokenizers[name], turns("2+2?", "4", "Sure?"))
        assert found.count("[") == 1
        assert "Sure?" in found


def conversations() -> st.SearchStrategy[list[dict[str, str]]]:
    words = st.lists(st.sampled_from([*TEXTS, "x", "the", " ", "\n", "🚀"]), min_size=1, max_size=3)
    content = words.map("".join).filter(str.strip)
    roles = st.sampled_from(["user", "assistant", "tool"])
    message = st.fixed_dictionaries({"role": roles, "content": content})
    return st.lists(message, min_size=1, max_size=5).map(lambda said: [*turns(system="the cat"), *said])


@pytest.fixture(scope="module")
def theirs(tokenizers: dict[str, ChatTokenizer]) -> dict[str, Any]:
    """The same tokenizers in transformers."""
    from transformers import PreTrainedTokenizerFast

    return {
        name: PreTrainedTokenizerFast.from_pretrained(one.path.parent) for name, one in tokenizers.items()
    }


@settings(max_examples=60)
@given(said=conversations())
def test_tokens_are_those_of_transformers(
    tokenizers: dict[str, ChatTokenizer], theirs: dict[str, Any], said: list
) -> None:
    for name, tokenizer in tokenizers.items():
        [encoded] = tokenizer.encode([tokenizer.words(said)])
        expected = theirs[name].apply_chat_template(said, tokenize=True, return_dict=False)
        assert encoded.tokens.tolist() == expected


@settings(max_examples=60)
@given(said=conversations())
def test_the_loss_is_of_what_transformers_marks(
    tokenizers: dict[str, ChatTokenizer], theirs: dict[str, Any], said: list
) -> None:
    expected = theirs["marked"].apply_chat_template(
        said, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    # by the template's marks, and by prefixes: both templates write the same
    for tokenizer in (tokenizers["marked"], tokenizers["chatml"]):
        [encoded] = tokenizer.encode([tokenizer.words(said)])
        assert encoded.tokens.tolist() == expected["input_ids"]
        assert encoded.loss.astype(int).tolist() == expected["assistant_masks"]


def tokenizer_with(folder: Path, template: str) -> ChatTokenizer:
    return ChatTokenizer(write_tokenizer(folder, template))


TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.mark.parametrize(
    "template",
    [
        # as Qwen3's: thinking is written where a turn is the last one
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.last and m.role == 'assistant' %}<think></think>"
        "{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT,
        # a mark at the end of all
        "{% for m in messages %}"
        + TURN
        + "{% endfor %}"
        + "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% else %}<|bos|>{% endif %}",
        # no prompt, so that the header would be taken for words
        "{% for m in messages %}" + TURN + "{% endfor %}",
    ],
)
def test_where_it_cannot_be_told(tmp_path: Path, template: str) -> None:
    tokenizer = tokenizer_with(tmp_path, template)
    with refused("data.tokenizer.template", value=tmp_path / "chat_template.jinja", use="{% generation %}"):
        tokenizer.words(SAID)


def test_a_template_without_prompt_whose_words_begin_the_turn(tmp_path: Path) -> None:
    """As Mistral's: the user's turn ends in a mark, and the assistant's words follow."""
    template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %} {{ m.content }}<|eot_id|>{% endif %}{% endfor %}"
    )
    said = turns("2+2?", "4", "Sure?", "Yes.")
    expected = "<|bos|>[INST] 2+2? [/INST][ 4<|eot_id|>][INST] Sure? [/INST][ Yes.<|eot_id|>]"
    assert learnt(tokenizer_with(tmp_path, template), said) == expected


def test_marks_that_leave_out_the_end_of_a_turn(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    )
    expected = "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>]\n"
    assert learnt(tokenizer_with(tmp_path, template), turns("2+2?", "4")) == expected


def test_marks_that_hold_more_than_the_end_of_a_turn(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content + '<|im_end|>\n' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}"
        "{% endfor %}"
    )
    expected = (
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>]\n"
        "<|im_start|>user\nSure?<|im_end|>\n"
    )
    assert learnt(tokenizer_with(tmp_path, template), turns("2+2?", "4", "Sure?")) == expected


def test_a_template_of_plain_words_has_no_mark_that_ends_a_turn(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    tokenizer = tokenizer_with(tmp_path, template)
    assert learnt(tokenizer, turns("2+2?", "4")) == "user: 2+2?\nassistant: [4\n]"
    [encoded] = tokenizer.encode([tokenizer.words(turns("2+2?", "4"))])
    assert encoded.ends == [""]


def test_a_token_across_the_border_is_the_assistants(tmp_path: Path) -> None:
    """BPE makes one token of what the user's last and the assistant's first letters are."""
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer = ChatTokenizer(write_tokenizer(tmp_path, template, ["xthe xthe"]))
    assert len(tokenizer.library.encode("xthe").ids) == 1
    assert learnt(tokenizer, turns("b x", "the cat")) == "b[ xthe cat]"


def test_blanks_of_the_assistant_are_learnt(tokenizers: dict[str, ChatTokenizer]) -> None:
    """Published tokenizers' offsets leave blanks out; a turn's indentation is its words all the same."""
    found = learnt(tokenizers["chatml"], turns("2+2?", "    a\n    b  "))
    assert "assistant\n[    a\n    b  <|im_end|>]" in found


def test_the_ends_of_turns_are_known(tokenizers: dict[str, ChatTokenizer]) -> None:
    for name, end in (("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("marked", "<|im_end|>")):
        tokenizer = tokenizers[name]
        [encoded] = tokenizer.encode([tokenizer.words(SAID)])
        assert encoded.ends == [end, end]
        assert encoded.tokens.dtype == np.int64


def test_a_template_that_wants_a_user_first(tmp_path: Path) -> None:
    template = "{{ messages[0].content }}" + "{% for m in messages %}" + TURN + "{% endfor %}" + PROMPT
    tokenizer = tokenizer_with(tmp_path, template)
    with pytest.raises((Rejected, UserError)):
        tokenizer.words([{"role": "assistant", "content": "hello"}])


def test_bad_folders(tmp_path: Path) -> None:
    with refused("data.tokenizer.path", value=tmp_path / "none"):
        ChatTokenizer(tmp_path / "none")
    bare = write_tokenizer(tmp_path / "bare", None)
    with refused("data.tokenizer.template", bare / "tokenizer.json", "chat_template.jinja"):
        ChatTokenizer(bare)
    torn = write_tokenizer(tmp_path / "torn", CHATML)
    (torn / "tokenizer_config.json").write_text("{")
    with refused("data.tokenizer.path", value=torn / "tokenizer_config.json"):
        ChatTokenizer(torn)
    lacking = write_tokenizer(tmp_path / "lacking", LLAMA3, bos_token="<s>")
    with refused("data.tokenizer.path", "<s>", "bos_token", value=lacking / "tokenizer.json"):
        ChatTokenizer(lacking)
    inside = write_tokenizer(
        tmp_path / "inside", None, chat_template=[{"name": "default", "template": CHATML}]
    )
    assert ChatTokenizer(inside).template.source == CHATML
    with refused("data.tokenizer.template", value=tmp_path / "gone.jinja"):
        ChatTokenizer(inside, tmp_path / "gone.jinja")
