"""All models of the corpus, and the flavors of which there is none."""

from tests.flavors import language, networks, tables

FLAVORS = {one.name: one for one in (*tables.FLAVORS, *networks.FLAVORS, *language.FLAVORS)}

#: Flavors of MLflow without a model here, and why.
MISSING = {
    "diffusers": "an adapter names its base model, whose weights come from a hub",
    "johnsnowlabs": "needs a licence",
    "openai": "calls a service outside: see chat-model and responses-agent for the same protocol",
    "prompt": "a text with placeholders: nothing predicts",
}
#: Flavors that MLflow had before version 3, and has no more.
GONE = ("diviner", "fastai", "gluon", "mleap", "mxnet", "promptflow")
