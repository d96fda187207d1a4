"""From alerts to the sinks that are to have them: chosen, throttled, kept on the disk, delivered."""
