"""A chat model that answers how many messages it was sent."""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import ChatModel
from mlflow.types.llm import ChatChoice, ChatCompletionResponse, ChatMessage


class Counting(ChatModel):
    def predict(self, context: Any, messages: Any, params: Any = None) -> Any:
        answer = ChatMessage(role="assistant", content=f"{len(messages)} messages")
        return ChatCompletionResponse(choices=[ChatChoice(message=answer)], created=1)


set_model(Counting())
