# SPDX-License-Identifier: Apache-2.0
"""Plays a member of a group: mpirun starts it, it has the fork server fork a runner that is this rank, and hands the
runner's control socket and output to whoever plays the hub. Lives as long as that one keeps the connection.

    mpirun -np N python3 member.py FORK_SOCKET HUB_SOCKET CWD JSON
"""
import array
import json
import os
import select
import socket
import struct
import sys

from harness import Frames, wire

LAUNCHER = ("OMPI_", "PMIX_", "PMI_", "ORTE_", "OPAL_", "PRTE_")


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return Frames(sock)


def send_with(frames, kind, body, fds):
    rights = array.array("i", fds)
    frames.sock.sendmsg([wire.frame(kind, body)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def environment(given):
    rank, size = os.environ["OMPI_COMM_WORLD_RANK"], os.environ["OMPI_COMM_WORLD_SIZE"]
    env = {name: value for name, value in os.environ.items() if name.startswith(LAUNCHER)}
    env.update(given, PTREMOTE_RANKS=size, PTREMOTE_GROUP_RANK=rank, OMP_NUM_THREADS="1")
    first = int(given["PTREMOTE_WORKER"].rpartition(".")[2])
    env["PTREMOTE_WORKER"] = "h0.%d" % (first + int(rank))
    return int(rank), env


def main():
    fork_socket, hub_socket, cwd, given = sys.argv[1:]
    rank, env = environment(json.loads(given))
    fork, hub = connect(fork_socket), connect(hub_socket)
    ours, theirs = socket.socketpair()
    out = os.open("%s.out.%d" % (hub_socket, rank), os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    body = wire.field(cwd) + struct.pack(">I", len(env))
    for name, value in env.items():
        body += wire.field(name) + wire.field(value)
    send_with(fork, wire.F_RUN, body, [theirs.fileno(), out])
    theirs.close()
    kind, fields = fork.next()
    assert kind == wire.F_PID, kind
    send_with(hub, wire.F_PID, struct.pack(">II", rank, fields.u32()), [ours.fileno(), out])
    ours.close()
    while True:
        ready, _, _ = select.select([fork.sock, hub.sock], [], [])
        if hub.sock in ready and not hub.sock.recv(1):
            return
        if fork.sock in ready:
            kind, fields = fork.next()
            hub.send(kind, struct.pack(">I", fields.u32()))
            hub.sock.recv(1)
            return


main()
