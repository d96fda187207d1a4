"""Files and objects with rules, as they are written: reading, and errors with their places."""
