"""circuitnn: SPICE netlists as differentiable, compiled audio circuit models."""
