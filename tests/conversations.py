"""Real forms of chat templates, tokenizers for them, and conversations."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

CHATML = """\
{%- if messages[0].role != 'system' %}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""As Qwen2's: a default system prompt, ChatML's marks, and a line feed after each turn."""

LLAMA3 = """\
{%- for message in messages %}
    {%- set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'
        + message['content'] | trim + '<|eot_id|>' %}
    {%- if loop.first %}
        {%- set content = bos_token + content %}
    {%- endif %}
    {{- content }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
"""As Llama 3's: roles in headers, words trimmed, one mark at the end of a turn."""

MARKED = """\
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
            {{- message.content + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""ChatML whose template says itself where the assistant's words are."""

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|bos|>")


def tokenizer_text(words: Sequence[str] = ()) -> str:
    """A tokenizer.json: bytes, and the marks of both templates; with words, also what BPE learns from them."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers
    from tokenizers import Tokenizer as Trained

    tokenizer = Trained(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # as published tokenizers have it: offsets without the blanks before words
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + 60 * bool(words),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    with pytest.MonkeyPatch.context() as patch:
        # A process whose children train tokenizers must not have the library's threads itself.
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        tokenizer.train_from_iterator(words, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer.to_str()


def write_tokenizer(folder: Path, template: str | None, words: Sequence[str] = (), **settings: Any) -> Path:
    """A tokenizer's folder, as transformers writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer_text(words))
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def turns(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    """Messages of a user and an assistant by turns."""
    roles = ("user", "assistant")
    said = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]
    return said if system is None else [{"role": "system", "content": system}, *said]


def write_lines(path: Path, conversations: Sequence[Any], key: str = "messages") -> Path:
    """A file of JSON lines, a conversation each."""
    path.write_text("".join(json.dumps({key: one}, ensure_ascii=False) + "\n" for one in conversations))
    return path
