"""The Python client, cell by cell: run it against `make run`, or open it as a notebook (VS Code, Jupytext).

.venv/bin/python examples/notebook.py [URL]
"""

# %% The demo model of `make run`, and the data that it was trained on
import sys

from sklearn.datasets import load_diabetes

from model_deployment.client import ApiError, Client

client = Client(
    sys.argv[1] if sys.argv[1:] else ""
)  # MODEL_DEPLOYMENT_URL, else http://127.0.0.1:8000
patients = load_diabetes(as_frame=True, scaled=False)
print([f"{model['name']}: {model['latest_version']}" for model in client.models()])

# %% Deploy it: nothing happens if it is deployed
deployment = client.deploy("diabetes", 1)
print(deployment["name"], deployment["state"], deployment["url"])

# %% Predict: a series with the index of the frame
rows = patients.data.sample(100, random_state=1)
predictions = client.predict("diabetes-1", rows)
print(predictions.to_series().describe())

# %% A row that the model cannot read is refused, and the error says why
try:
    client.predict("diabetes-1", rows.drop(columns="bmi"))
except ApiError as error:
    print(error.status, error.places)

# %% The true outcomes, as far as they are known: matched by the index
outcomes = patients.target.loc[rows.index].iloc[:60]
print(client.feedback("diabetes-1", predictions, outcomes))

# %% How the model does
report = client.report("diabetes-1", since="1h")
print(report.verdict, "-", report.headline)
report  # noqa: B018 - a notebook shows the page here

# %% Rows as they were captured, with predictions and labels
for row in client.dataset("diabetes-1", source="captured", limit=3):
    print(row)
