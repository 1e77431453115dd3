"""What the deployables stand on (wire contract, store, settings), and what starts them (command, local stack)."""
