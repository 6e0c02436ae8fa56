"""A query engine of LlamaIndex, over one document and without a network."""

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.llms import MockLLM
from mlflow.models import set_model

index = VectorStoreIndex.from_documents(
    [Document(text="A day has a morning.", id_="day")], embed_model=MockEmbedding(4)
)
set_model(index.as_query_engine(llm=MockLLM(max_tokens=4)))
