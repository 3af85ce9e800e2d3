"""tests/followed.py finds where a page and the machine differ, and only there."""

import os
from pathlib import Path

import pytest

from followed import Page

PAGE = """\
# A page

```yaml title="notes/one.yaml"
a: 1
```

```text
$ this is only read
```

```console
$ cd notes && ls
one.yaml
$ export GREETING=hello
$ printf 'loss 0.5003 after 17 s, 2026-01-02 in %s\\n' "$HOME"
loss 0.5004 after 3 s, 2025-11-12 in /home/you
```

Then:

```console
$ echo $GREETING; seq 1 \\
      30
hello
1
...
30
$ false
$ echo $?
1
$ echo job 4711
job 4711
$ echo 0.25 s/step, 3.1 TFLOP/s/device, 6.39 GFLOP/s, 1 min 44 s left
0.31 s/step, 0.7 TFLOP/s/device, 1.39 TFLOP/s, 44 s left
```
"""


def _follow(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    Page(str(path)).follow(home, {"HOME": str(home), "PATH": os.environ["PATH"]})


def test_a_true_page_passes(tmp_path: Path) -> None:
    _follow(tmp_path, PAGE)
    assert (tmp_path / "home" / "notes" / "one.yaml").read_text() == "a: 1\n"


@pytest.mark.parametrize(
    "true, false",
    [
        ("one.yaml\n$", "two.yaml\n$"),
        ("loss 0.5004", "loss 0.53"),
        ("in /home/you", "in /home/me"),
        ("30\nhello\n", "30\ngoodbye\n"),
        ("...\n", ""),
        ("30\n$ false", "31\n$ false"),
        ("$ echo $?\n1\n", ""),  # a command that fails, and nobody asks
        ("\njob 4711\n", "\njob 4000\n"),
        ("0.31 s/step", "0.31 s/epoch"),
    ],
)
def test_a_false_page_is_found(true: str, false: str, tmp_path: Path) -> None:
    assert true in PAGE
    with pytest.raises(AssertionError):
        _follow(tmp_path, PAGE.replace(true, false))


def test_what_varies_is_named_on_the_page(tmp_path: Path) -> None:
    text = PAGE.replace("\njob 4711\n", "\njob 1234\n")
    _follow(tmp_path, text + "\n<!-- varies: job \\d+ -->\n")


def test_a_picture_has_to_be_left_by_the_run(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="loss.png"):
        _follow(tmp_path, PAGE + "\n<!-- picture: loss.png -->\n![Loss](loss.png)\n")
