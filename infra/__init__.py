"""What the deployables share (contract, store, settings), and what starts them (command, local stack)."""
