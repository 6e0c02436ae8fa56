"""Registers the agent of ``words.py`` as the model ``words``.

MLFLOW_TRACKING_URI names the registry, as for every program that uses MLflow:

    MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python examples/agents/register.py
"""

from pathlib import Path

import mlflow


def main() -> None:
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="agent",
            python_model=str(Path(__file__).with_name("words.py")),
            registered_model_name="words",
            pip_requirements=["mlflow"],
        )


if __name__ == "__main__":
    main()
