"""What computes the forward pass: torch, ONNX Runtime, OpenVINO. Whoever decodes its outputs does not know which."""
