"""Compiled code: matrix products, the LSTM, convolutions, pooling, images, and the threads that share them."""
