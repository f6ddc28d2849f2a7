"""What a process holds."""

from pathlib import Path


def resident_mebibytes(pid: int, which: str) -> float:
    """Its memory now ("VmRSS") or at its peak ("VmHWM"), as Linux tells."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(which))
