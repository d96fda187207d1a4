"""What processes of the agent give up that need less than the agent itself: capabilities, files, memory."""
