"""A model behind FastAPI, as somebody writes it who needs no more: the service that ``peers.py`` compares.

``MODEL`` names the file of the model.
"""

import os

import joblib  # type: ignore[import-untyped]
import pandas as pd  # type: ignore[import-untyped]
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["MODEL"])  # noqa: TID251


class Table(BaseModel):
    columns: list[str]
    data: list[list[float]]


class Request(BaseModel):
    dataframe_split: Table


@app.get("/ping")
def ping() -> str:
    return "pong"


@app.post("/invocations")
def predict(request: Request) -> dict[str, list[float]]:
    table = request.dataframe_split
    return {"predictions": model.predict(pd.DataFrame(table.data, columns=table.columns)).tolist()}
