"""Strokes become ranked words, by PyTorch or onnxruntime."""
