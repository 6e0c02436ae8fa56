"""OpenAI's paths for chats: which deployment a request means, and how it is told to MLflow's agents."""
