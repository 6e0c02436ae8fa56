"""What the agents for tests do, and what they say. Nothing here imports MLflow.

=========== ==================================================================================
message     the agent
=========== ==================================================================================
call        asks its caller to call the tool ``look``
use         calls a tool itself, and says what it found
fail        says a word, and raises an exception
refuse      raises an exception at once
*others*    says the words of the message
=========== ==================================================================================
"""

#: One model for each of MLflow's interfaces: ``ResponsesAgent``, ``ChatAgent``, ``ChatModel``.
MODELS = ("responses", "chats", "model")
CALL = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}}
#: Counts of tokens: of the request, of the answer.
TOKENS = 3, 4
