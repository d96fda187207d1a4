"""The context of an event's process: its container, its users, the files and hosts that it names.

All that is read here may have been written by an attacker, and the process may have ended. So look-ups return a value
or None, and raise no errors unless they say so.
"""
