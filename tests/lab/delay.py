#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""delay.py LISTEN_ADDRESS PORT TO_ADDRESS PORT MS: a TCP proxy that makes a round trip MS longer and limits nothing else.

Goes to the background once it listens, and prints its process id. Bytes wait MS/2 on each way, counted from when they came;
opening a connection costs a round trip as well. Nobody is asked to hurry: it sleeps until the next bytes are due.
"""
import collections
import os
import select
import socket
import sys
import time

CHUNK = 256 << 10
LIMIT = 64 << 20  # bytes under way in one direction


class Way:
    """One direction of a connection."""

    def __init__(self, source, opened, delay):
        self.source, self.target = source, None
        self.opened, self.delay = opened, delay
        self.queue = collections.deque()  # (when it is due, bytes; None for the end)
        self.size = 0
        self.ended = self.done = self.blocked = False

    def wants(self):
        return not self.ended and self.size < LIMIT

    def read(self):
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:
            return
        due = max(time.monotonic(), self.opened) + self.delay
        self.queue.append((due, memoryview(data) if data else None))
        self.size += len(data)
        self.ended = not data

    def due(self):
        return self.queue[0][0] if self.queue and not self.blocked else None

    def write(self, now):
        while self.queue and self.queue[0][0] <= now:
            due, data = self.queue.popleft()
            if data is None:
                self.target.shutdown(socket.SHUT_WR)
                self.done = True
                return
            try:
                sent = self.target.send(data)
            except BlockingIOError:
                sent = 0
            self.size -= sent
            if sent < len(data):
                self.queue.appendleft((due, data[sent:]))
                self.blocked = True
                return


class Connection:
    def __init__(self, client, to, trip):
        now = time.monotonic()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client, self.to, self.server = client, to, None
        self.connects = now + 1.5 * trip  # when the last packet of the handshake would be there
        self.there, self.back = Way(client, now + trip, trip / 2), None
        self.trip = trip

    def ways(self):
        return [way for way in (self.there, self.back) if way]

    def connect(self):
        self.server = socket.socket()
        self.server.setblocking(False)
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connect_ex(self.to)
        self.there.target = self.server
        self.back = Way(self.server, 0, self.trip / 2)
        self.back.target = self.client

    def due(self):
        times = [way.due() for way in self.ways() if way.target]
        return [t for t in times if t is not None] + ([] if self.server else [self.connects])

    def over(self):
        return self.there.done and self.back is not None and self.back.done

    def close(self):
        for end in (self.client, self.server):
            if end:
                end.close()


def move(connection, readable, writable):
    now = time.monotonic()
    if not connection.server and connection.connects <= now:
        connection.connect()
    for way in connection.ways():
        if way.source in readable:
            way.read()
        if way.target in writable:
            way.blocked = False
        if way.target and not way.blocked:
            way.write(now)


def serve(listener, to, trip):
    connections = set()
    while True:
        ways = [way for connection in connections for way in connection.ways()]
        due = [t for connection in connections for t in connection.due()]
        readers = [listener] + [way.source for way in ways if way.wants()]
        writers = [way.target for way in ways if way.blocked]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        readable, writable, _ = select.select(readers, writers, [], timeout)
        if listener in readable:
            connections.add(Connection(listener.accept()[0], to, trip))
        for connection in list(connections):
            try:
                move(connection, readable, writable)
                over = connection.over()
            except OSError:
                over = True
            if over:
                connection.close()
                connections.discard(connection)


def main():
    address, port, to_address, to_port, ms = sys.argv[1:]
    listener = socket.create_server((address, int(port)), backlog=128)
    pid = os.fork()
    if pid:
        print(pid)
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    serve(listener, (to_address, int(to_port)), float(ms) / 1000)


if __name__ == "__main__":
    main()
