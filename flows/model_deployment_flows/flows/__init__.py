"""The five flows."""

from __future__ import annotations

from typing import Any

from prefect import Flow

from model_deployment_flows.flows.data_flow import data_flow
from model_deployment_flows.flows.deploy_flow import deploy_flow
from model_deployment_flows.flows.eval_flow import eval_flow
from model_deployment_flows.flows.full_flow import full_flow
from model_deployment_flows.flows.train_flow import train_flow

ALL: tuple[Flow[..., Any], ...] = (data_flow, train_flow, eval_flow, deploy_flow, full_flow)
