"""A bundle as a file for other runtimes (ONNX, torch.export), and smaller: half precision, int8, pruned."""
