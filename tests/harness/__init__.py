"""What tests stand on: real engines, real edge and worker processes, recording clients."""
