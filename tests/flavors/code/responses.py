"""An agent of OpenAI's Responses API that repeats the last thing that it was told."""

from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import ResponsesAgent
from mlflow.types.responses import ResponsesAgentResponse


class Repeating(ResponsesAgent):
    def predict(self, request: Any) -> Any:
        text = str(request.input[-1].content)
        return ResponsesAgentResponse(output=[self.create_text_output_item(text, id="1")])


set_model(Repeating())
