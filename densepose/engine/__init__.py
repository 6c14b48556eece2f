"""Training and evaluation: wires data, model, evaluation and the machine together from a config."""
