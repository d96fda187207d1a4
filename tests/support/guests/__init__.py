"""Real kernels in virtual machines: ``run_in_guest(kernel, steps)`` boots one and hands back what the steps printed.

qemu emulates the processor, so neither /dev/kvm nor a kernel of a certain version is needed on this machine. Kernels
and the guests' file system come from the Debian mirror that this machine's package sources name; they are kept in
``${XDG_CACHE_HOME:-~/.cache}/tiercel/kernels``. Nothing here needs pytest.
"""

from guests.guest import GuestError, Step, StepResult, Visit, run_in_guest
from guests.kernels import KERNELS, Kernel, named
from guests.places import Unavailable

__all__ = ["KERNELS", "GuestError", "Kernel", "Step", "StepResult", "Unavailable", "Visit", "named", "run_in_guest"]
