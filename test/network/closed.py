"""Runs a command where nothing but the loopback exists: `unshare -rn python closed.py COUNTS COMMAND...`.

Into the file COUNTS go the packets that the kernel had no route for meanwhile, of whatever program. The exit status is the command's.
"""
import fcntl
import socket
import struct
import subprocess
import sys
from pathlib import Path

SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def loopback_up() -> None:
    """As `ip link set lo up`, which not every machine has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def without_route() -> int:
    """Packets of IPv4 and IPv6 that had no route, since the network namespace was made."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text(encoding="utf-8").splitlines()[:2])
    count = int(values[names.index("OutNoRoutes")])
    version6 = Path("/proc/net/snmp6")
    if version6.exists():
        lines = version6.read_text(encoding="utf-8").splitlines()
        count += sum(int(line.split()[1]) for line in lines if line.startswith("Ip6OutNoRoutes"))
    return count


if __name__ == "__main__":
    loopback_up()
    before = without_route()
    done = subprocess.run(sys.argv[2:])
    Path(sys.argv[1]).write_text(str(without_route() - before), encoding="utf-8")
    sys.exit(done.returncode)
