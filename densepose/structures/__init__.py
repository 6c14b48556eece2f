"""What travels between the packages: annotations, network outputs, predictions."""
