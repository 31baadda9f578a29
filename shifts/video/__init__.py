"""Video shifts: image corruptions frame by frame, the order of frames, compression, sequences."""
