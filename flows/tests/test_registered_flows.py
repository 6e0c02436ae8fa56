"""The flows that are served, and the parameters that the controller may give them."""

from model_deployment_flows.flows import ALL


def test_flows_have_the_parameters_that_the_controller_sends() -> None:
    common = {"experiment", "data"}
    study = {"model_type", "trials", "timeout", "epochs"}
    assert {flow.name: set(flow.parameters.properties) for flow in ALL} == {
        "data_flow": common | {"force"},
        "train_flow": common | study,
        "eval_flow": common | {"version"},
        "deploy_flow": common | {"version", "wait"},
        "full_flow": common | study | {"force", "version", "wait"},
    }
