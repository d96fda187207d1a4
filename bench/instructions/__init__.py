"""What watching costs, in instructions: the same on every run, whatever else the machine does.

A guest with one processor runs each load without the agent and with it. Its clock goes on by a nanosecond for each
instruction, so what a round takes is the number of instructions that user space and kernel execute for it. Instructions
aren't time, for a cache miss costs more than an addition; but they show at once what a change does.
"""
