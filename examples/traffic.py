"""Plays the callers of "iris" (examples/train.py): predictions first, the true species later.

    python examples/traffic.py iris-1 [--millimetres]

Each request carries one of the flowers that the model never saw. With --millimetres the callers have
changed the unit of the petals, and the model does not know.
"""

import argparse
import os
import uuid

import httpx
from train import TARGET, split

#: Each flower is asked for so many times.
ROUNDS = 2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("deployment")
    parser.add_argument("--millimetres", action="store_true")
    arguments = parser.parse_args()
    _, unseen = split()
    flowers = [record for _ in range(ROUNDS) for record in unseen.to_dict("records")]
    labels = []
    with httpx.Client(base_url=address(), auth=user(), timeout=60) as client:
        for flower in flowers:
            species = flower.pop(TARGET)
            if arguments.millimetres:
                flower |= {name: 10 * flower[name] for name in ("petal_length", "petal_width")}
            # The id by which the truth finds its prediction again.
            request_id = uuid.uuid4().hex
            headers = {"X-Request-Id": request_id}
            answer = client.post(f"/{arguments.deployment}", json=flower, headers=headers)
            answer.raise_for_status()
            labels.append({"request_id": request_id, "label": species})
        answer = client.post(f"/model/{arguments.deployment}/feedback", json={"items": labels})
        answer.raise_for_status()
    print(f"{len(labels)} predictions, and their labels: {answer.text}")


def address() -> str:
    return os.environ.get("MODEL_DEPLOYMENT_URL", "http://127.0.0.1:8000")


def user() -> tuple[str, str] | None:
    name = os.environ.get("MODEL_DEPLOYMENT_USER")
    return (name, os.environ["MODEL_DEPLOYMENT_PASSWORD"]) if name else None


if __name__ == "__main__":
    main()
