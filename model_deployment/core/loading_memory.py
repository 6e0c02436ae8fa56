"""How much memory the files of a model take while they are loaded, by their format. Pure.

Measured with each library's own loader (docs/how-to/sizing.md): what was read, and what is made of it, are
there together. Text is larger once it is read.
"""

from collections.abc import Iterable
from pathlib import PurePath

#: Bytes of memory for each byte of a file, by the end of its name: at most while it is loaded.
_FACTORS = {
    ".json": 12,  # trees of XGBoost as text: 11.5
    ".onnx": 3,  # 2.5: MLflow reads the file, then onnxruntime does
    ".ubj": 3,  # 2.6
    ".pth": 2,  # 1.0, and what a state dictionary is copied into
    ".npy": 1,
    ".parquet": 4,
}
#: Pickles of arrays take 1.0, of trees 2.0; safetensors 2.0; other formats are taken for such.
_OTHERS = 2
#: Written beside a model, and not loaded with it.
_UNUSED = frozenset({"input_example.json", "serving_input_example.json", "MLmodel"})


def loading_memory(files: Iterable[tuple[str, int]]) -> int:
    """Bytes that a process takes for a model while it is loaded, at most.

    Args:
        files: the name and the bytes of each file of the model.
    """
    return sum(
        size * _FACTORS.get(PurePath(name).suffix.lower(), _OTHERS)
        for name, size in files
        if PurePath(name).name not in _UNUSED
    )
