"""What `acclimate doctor` says of a round's share: caps by the kernel, a GPU with serving on it."""

from __future__ import annotations

import os
from pathlib import Path

from acclimate.daemon import cgroup
from acclimate.daemon.checks import Check, Finding, Patient

PIPES = Path("/tmp/nvidia-mps")  # where CUDA looks unless it is told otherwise


def caps(patient: Patient) -> Finding | None:
    """Who holds rounds to their limits? Only the running daemon knows its cgroup."""
    adapt = patient.config.adapt
    if not adapt.enabled:
        return None
    if patient.status is None:
        told = "a service with Delegate= has them capped by the kernel, else they are watched"
        v2 = (cgroup.MOUNT / "cgroup.controllers").exists()
        return Finding("caps", "ok", told if v2 else "there is no cgroup v2: rounds are watched")
    told = f"rounds are {patient.status.get('caps', 'watched')}"
    if adapt.cpus and "cpu" not in told.partition("capped by the kernel:")[2].split(" of ")[0]:
        return Finding(
            "caps", "warning", f"{told}; adapt.cpus ({adapt.cpus:g}) is not kept",
            "run it as the service of systemd/, on a machine with cgroup v2",
        )  # fmt: skip
    return Finding("caps", "ok", told)


def gpu_sharing(patient: Patient) -> Finding | None:
    """Is there an MPS daemon where CUDA looks for one, and does a round make use of it?"""
    adapt = patient.config.adapt
    pipes = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", PIPES))
    there = (pipes / "nvidia-cuda-mps-control.pid").exists()
    if adapt.gpu_share and adapt.device == "cpu":
        return Finding(
            "sharing", "warning", "adapt.gpu_share does nothing: rounds run on the processor",
            "set adapt.device: cuda, or leave adapt.gpu_share out",
        )  # fmt: skip
    if there:
        return Finding("sharing", "ok", f"an NVIDIA MPS daemon is at {pipes}")
    if adapt.gpu_share:
        return Finding(
            "sharing", "warning",
            f"adapt.gpu_share is not kept: no NVIDIA MPS daemon is at {pipes}",
            "nvidia-cuda-mps-control -d; see docs/gpu-sharing.md",
        )  # fmt: skip
    return None


SHARES: tuple[Check, ...] = (caps, gpu_sharing)
