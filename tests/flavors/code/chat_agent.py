"""A chat agent that answers how many messages it was sent."""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import ChatAgent
from mlflow.types.agent import ChatAgentMessage, ChatAgentResponse


class Counting(ChatAgent):
    def predict(self, messages: Any, context: Any = None, custom_inputs: Any = None) -> Any:
        text = f"{len(messages)} messages"
        return ChatAgentResponse(
            messages=[ChatAgentMessage(role="assistant", content=text, id="1")]
        )


set_model(Counting())
