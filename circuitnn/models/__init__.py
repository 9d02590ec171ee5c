"""Models: circuits and, beside them, networks, all called like nn.LSTM(batch_first=True)."""
