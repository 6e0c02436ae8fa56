"""The four networks, on Keras with JAX."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model_deployment_flows.series import served_model as served
from model_deployment_flows.series.forecasters import Forecaster
from model_deployment_flows.series.windows import Floats


def _lstm(layers: Any, units: int) -> list[Any]:
    return [layers.LSTM(units)]


def _gru(layers: Any, units: int) -> list[Any]:
    return [layers.GRU(units)]


def _bilstm(layers: Any, units: int) -> list[Any]:
    return [layers.Bidirectional(layers.LSTM(units))]


def _conv1d_bilstm(layers: Any, units: int) -> list[Any]:
    convolution = layers.Conv1D(units, 3, padding="causal", activation="relu")
    return [convolution, layers.Bidirectional(layers.LSTM(units))]


#: What is between the window and the layer of the ``horizon`` outputs.
NETWORKS: Mapping[str, Callable[[Any, int], list[Any]]] = {
    "lstm": _lstm,
    "gru": _gru,
    "bilstm": _bilstm,
    "conv1d_bilstm": _conv1d_bilstm,
}


class Network(Forecaster):
    """A network that predicts all steps at once, trained on windows that are scaled each by itself."""

    def __init__(
        self,
        model_type: str,
        horizon: int,
        *,
        epochs: int,
        seed: int,
        units: int = 32,
        learning_rate: float = 0.005,
        batch_size: int = 32,
    ) -> None:
        super().__init__(horizon)
        self.model_type = model_type  # type: ignore[misc]
        self.epochs, self.seed = epochs, seed
        self.units, self.learning_rate, self.batch_size = units, learning_rate, batch_size
        self._network: Any = None

    def _learn(self, windows: Floats, following: Floats) -> served.Forecast:
        served.choose_backend()
        import keras

        keras.utils.clear_session()  # of the trial before, which would stay in memory
        keras.utils.set_random_seed(self.seed)
        self._network = network = keras.Sequential([
            keras.Input((windows.shape[1], 1)),
            *NETWORKS[self.model_type](keras.layers, self.units),
            keras.layers.Dense(self.horizon),
        ])  # fmt: skip
        network.compile(optimizer=keras.optimizers.Adam(self.learning_rate), loss="mse")
        centre, spread = served.scale_of(windows)
        given = ((windows - centre) / spread).astype("float32")[..., None]
        wanted = ((following - centre) / spread).astype("float32")
        size = min(self.batch_size, len(given))
        # A last batch of another size would be compiled too, which takes seconds: the oldest rows go.
        first = len(given) % size
        network.fit(given[first:], wanted[first:], epochs=self.epochs, batch_size=size, verbose=0)
        return served.network_forecast(network)

    def _described(self) -> dict[str, Any]:
        return {"units": self.units, "epochs": self.epochs}

    def save(self, folder: Path) -> None:
        super().save(folder)
        self._network.save(folder / served.NETWORK)
