"""What watching costs a machine, and whether it can be blinded: Tiercel, and Falco and sysdig where they are installed.

`python -m bench.live`, as root, runs real work without and with each of them in turn and writes tables and a picture.
It drives them by their command lines alone. See `--help`.
"""
