"""What the tests are built on: real engines, real edge and worker processes, recording clients."""
