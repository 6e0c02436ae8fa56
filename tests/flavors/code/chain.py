"""A chain of LangChain: a prompt, a model that answers from a list, and the text of its answer."""

from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from mlflow.models import set_model

set_model(
    ChatPromptTemplate.from_template("What is {thing}?")
    | FakeListChatModel(responses=["a word"])
    | StrOutputParser()
)
