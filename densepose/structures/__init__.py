"""What travels between the rooms: annotations, network outputs, predictions."""
