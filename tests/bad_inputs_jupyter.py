"""What users get wrong with `slipway jupyter`: rows of the table."""

from pathlib import Path

import jupyter_standin as standin
from bad_inputs import BadInput


def _image(folder: Path) -> None:
    standin.sif(folder / "slipway.sif")


def _no_image(folder: Path) -> None:
    (folder / "slipway.sif").write_bytes(b"PK\x03\x04")


def _file(folder: Path) -> None:
    _image(folder)
    (folder / "file").write_text("")


ROWS = [
    BadInput("a kernel without an image", "jupyter mine", "jupyter --image", ("slipway.sif",)),
    BadInput("a kernel in no SIF", "jupyter mine", "jupyter --image", ("slipway.sif", "SIF"), _no_image),
    BadInput("a kernel without a name", "jupyter", "jupyter", ("0", "NAME")),
    BadInput("a kernel with two names", "jupyter a b", "jupyter", ("2", "NAME")),
    BadInput("a kernel in another folder", "jupyter ../mine", "jupyter NAME", ("../mine", "100"), _image),
    BadInput("a hidden kernel", "jupyter .mine", "jupyter NAME", (".mine",), _image),
    BadInput("a kernel on pods", "jupyter mine --cluster gke", "jupyter --cluster", ("gke", "local"), _image),
    BadInput(
        "a kernel nowhere", "jupyter mine --cluster lumi", "jupyter --cluster", ("lumi", "lumi_g"), _image
    ),
    BadInput("a kernel below a file", "jupyter mine --prefix file", "jupyter --prefix", ("file",), _file),
    BadInput(
        "a prefix that Jupyter fills in", "jupyter mine --prefix {prefix}", "jupyter --prefix", (), _image
    ),
    BadInput("nothing to bind", "jupyter mine --bind absent", "jupyter --bind", ("absent",), _image),
    BadInput("a comma in a bind", "jupyter mine --bind a,b", "jupyter --bind", ("a,b", "SOURCE"), _image),
    BadInput("a bind of another mode", "jupyter mine --bind .:/runs:rx", "jupyter --bind", ("rx",), _image),
    BadInput(
        "a relative target", "jupyter mine --bind .:runs", "jupyter --bind", (".:runs", "TARGET"), _image
    ),
    BadInput(
        "GPUs of a third vendor", "jupyter mine --gpu intel", "jupyter --gpu", ("intel", "nvidia"), _image
    ),
]
