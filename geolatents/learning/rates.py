"""AdamW in which parts of a network learn at rates of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="geolatents")
class RatedAdamW(keras.optimizers.Adam):  # type: ignore[misc]
    """AdamW (Loshchilov and Hutter 2019) with a share of the learning rate per variable.

    Adam divides by the size of gradients, so that scaled gradients would change nothing: it is the step
    that is scaled, and with it the decay. The shares are no state; an optimiser that is made with
    the same ones goes on from saved variables.
    """

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float = 0.0,
        shares: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Create the optimiser.

        Args:
            learning_rate: Rate or schedule.
            weight_decay: Decoupled weight decay.
            shares: Share of the rate by path of a variable; 1 for others.
            kwargs: Arguments of Keras' Adam.
        """
        # Keras' own decay would use one rate for all.
        super().__init__(learning_rate, **{**kwargs, "weight_decay": None})
        self.decay = float(weight_decay)
        self.shares = dict(shares or {})
        self._shares: list[float] = []

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state of variables and note their shares."""
        if not self.built:
            self._shares = [self.shares.get(variable.path, 1.0) for variable in variables]
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a variable by its gradient and its decay."""
        share = self._shares[self._get_variable_index(variable)]
        rate = keras.ops.cast(learning_rate, variable.dtype) * share
        if self.decay and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * (rate * self.decay))
        super().update_step(gradient, variable, rate)

    def get_config(self) -> dict[str, Any]:
        """Keras' configuration, decay and shares."""
        config = super().get_config()
        return {**config, "weight_decay": self.decay, "shares": self.shares}
