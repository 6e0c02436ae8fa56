"""Networks: PyTorch, Keras, TensorFlow, ONNX, PaddlePaddle, Transformers, Sentence Transformers, spaCy."""

import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.flavors.flavor import SINGLE, Flavor, Made

#: Small whole numbers of rows, height and width: what is tried is the form, not the size.
ROWS, SIDE = 2, 4
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "day", "a", "very")
TEXTS = ["a good day", "very bad"]


def numbers(*shape: int) -> Any:
    """Random 32-bit floats."""
    import numpy as np

    return np.random.default_rng(0).normal(size=shape).astype("float32")


def pytorch_images() -> Made:
    import mlflow.pytorch
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 2 * 2, 3))
    return Made(partial(mlflow.pytorch.log_model, model), numbers(ROWS, 3, SIDE, SIDE))


def pytorch_table() -> Made:
    import mlflow.pytorch
    import pandas as pd
    import torch

    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    example = pd.DataFrame(numbers(ROWS, 3), columns=["a", "b", "c"])
    # MLflow's own format, pt2, wants a signature of tensors.
    log = partial(mlflow.pytorch.log_model, model, serialization_format="pickle")
    return Made(log, example)


def keras_windows() -> Made:
    import keras
    import mlflow.keras
    from mlflow.models import infer_signature

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 2)), keras.layers.LSTM(3), keras.layers.Dense(1)])
    example = numbers(ROWS, 5, 2)

    def log(*, input_example: Any, signature: Any, **more: Any) -> None:
        mlflow.keras.log_model(model, signature=signature or None, **more)

    return Made(log, example, signature=infer_signature(example, model.predict(example)))


def tensorflow_images() -> Made:
    import keras
    import mlflow.tensorflow

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((SIDE, SIDE, 1)), keras.layers.Conv2D(2, 3), keras.layers.GlobalMaxPool2D()]
    )
    return Made(partial(mlflow.tensorflow.log_model, model), numbers(ROWS, SIDE, SIDE, 1))


def tensorflow_named() -> Made:
    import keras
    import mlflow.tensorflow

    keras.utils.set_random_seed(0)
    parts = [keras.Input((3,), name="left"), keras.Input((2,), name="right")]
    out = keras.layers.Dense(1)(keras.layers.Concatenate()(parts))
    model = keras.Model({part.name: part for part in parts}, out)
    example = {"left": numbers(ROWS, 3), "right": numbers(ROWS, 2)}
    return Made(partial(mlflow.tensorflow.log_model, model), example)


def onnx_array() -> Made:
    from onnx import TensorProto, helper

    rows = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("x", 3), ("y", 2))
    ]
    weights = helper.make_tensor("w", TensorProto.FLOAT, (3, 2), numbers(3, 2).ravel())
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "line", rows[:1], rows[1:], [weights])
    return _onnx(graph, numbers(ROWS, 3))


def _onnx(graph: Any, example: Any) -> Made:
    import mlflow.onnx
    from mlflow.models import infer_signature
    from onnx import helper

    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    log = partial(mlflow.onnx.log_model, model)
    return Made(log, example, signature=infer_signature(example))


def onnx_named() -> Made:
    from onnx import TensorProto, helper

    parts = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 2]) for name in ("x", "y")
    ]
    out = helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["rows", 2])
    graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["sum"])], "sum", parts, [out])
    return _onnx(graph, {"x": numbers(ROWS, 2), "y": numbers(ROWS, 2) * 2})


def paddle() -> Made:
    import mlflow.paddle
    import paddle as library
    from mlflow.models import infer_signature

    library.seed(0)
    model = library.Model(
        library.nn.Linear(3, 1), inputs=[library.static.InputSpec([None, 3], "float32", "x")]
    )
    model.prepare()
    example = numbers(ROWS, 3)
    signature = infer_signature(example, numbers(ROWS, 1))
    return Made(partial(mlflow.paddle.log_model, model), example, signature=signature)


def tokenizer() -> Any:
    """Of whole words, for BERT."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(WORDS)}
    raw = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=16, **names)


def bert(kind: str, **more: Any) -> Any:
    """A BERT of two heads and one layer with random weights, of a class of Transformers."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=32, **more,
    )  # fmt: skip
    return getattr(transformers, kind)(config).eval()


def _pipeline(task: str, model: Any, **more: Any) -> Any:
    import mlflow.transformers
    import transformers

    made = transformers.pipeline(task, model=model, tokenizer=tokenizer(), device="cpu", **more)
    return partial(mlflow.transformers.log_model, made)


def transformers_classes() -> Made:
    model = bert("BertForSequenceClassification", num_labels=2)
    return Made(_pipeline("text-classification", model), TEXTS, params={"top_k": 1})


def transformers_features() -> Made:
    return Made(_pipeline("feature-extraction", bert("BertModel")), TEXTS)


def transformers_text() -> Made:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(WORDS), n_positions=32, n_embd=8, n_layer=1, n_head=2,
                   bos_token_id=2, eos_token_id=3, pad_token_id=0)
    )  # fmt: skip
    log = _pipeline("text-generation", model)
    return Made(log, TEXTS, params={"max_new_tokens": 3, "do_sample": False})


def sentence_transformers() -> Made:
    import mlflow.sentence_transformers
    from sentence_transformers import SentenceTransformer, models

    with tempfile.TemporaryDirectory() as folder:
        bert("BertModel").save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        words = models.Transformer(folder)
        model = SentenceTransformer(modules=[words, models.Pooling(8)], device="cpu")
    return Made(partial(mlflow.sentence_transformers.log_model, model), TEXTS)


def spacy() -> Made:
    import mlflow.spacy
    import pandas as pd
    import spacy as library
    from spacy.training import Example

    model = library.blank("en")
    model.add_pipe("textcat").add_label("good")
    model.get_pipe("textcat").add_label("bad")
    library.util.fix_random_seed(0)
    told = [{"cats": {"good": 1.0, "bad": 0.0}}, {"cats": {"good": 0.0, "bad": 1.0}}]
    model.initialize(
        lambda: [
            Example.from_dict(model.make_doc(text), cats)
            for text, cats in zip(TEXTS, told, strict=True)
        ]
    )
    return Made(partial(mlflow.spacy.log_model, model), pd.DataFrame({"text": TEXTS}))


_TENSORFLOW = ("keras",)
_TORCH = ("torch",)


def _hugging_face(name: str, make: Callable[[], Made]) -> Flavor:
    # MLflow gives them a signature of their task, if they have none.
    return Flavor(name, "transformers", "transformers", make, _TORCH, SINGLE, bare=False)


FLAVORS = (
    # In MLflow's own format, pt2, which wants a signature.
    Flavor("pytorch-images", "pytorch", "torch", pytorch_images, (), SINGLE, bare=False),
    Flavor("pytorch-table", "pytorch", "torch", pytorch_table, (), SINGLE),
    Flavor(
        "keras-windows", "keras", "keras", keras_windows, ("tensorflow-cpu",), SINGLE,
        remark="this flavor of MLflow fails to save an input example",
    ),
    Flavor(
        "tensorflow-images", "tensorflow", "tensorflow-cpu", tensorflow_images, _TENSORFLOW, SINGLE
    ),
    Flavor(
        "tensorflow-named", "tensorflow", "tensorflow-cpu", tensorflow_named, _TENSORFLOW, SINGLE
    ),
    Flavor("onnx-array", "onnx", "onnxruntime", onnx_array, ("onnx",), SINGLE),
    Flavor("onnx-named", "onnx", "onnxruntime", onnx_named, ("onnx",), SINGLE),
    Flavor("paddle", "paddle", "paddlepaddle", paddle, (), SINGLE),
    _hugging_face("transformers-classes", transformers_classes),
    _hugging_face("transformers-features", transformers_features),
    _hugging_face("transformers-text", transformers_text),
    Flavor(
        "sentence-transformers", "sentence_transformers", "sentence-transformers",
        sentence_transformers, _TORCH, SINGLE,
    ),
    Flavor("spacy", "spacy", "spacy", spacy, (), SINGLE),
)  # fmt: skip
