#!/usr/bin/python3
"""Answer HTTP 200 while the local Galera node can take writes, 503 while it can't, with the reason in the body.

Usage: galera-check.py ADDRESS PORT

HAProxy asks this on every controller, from every controller, several times a second: one connection to the server is
kept open, and an answer is used again for REUSE seconds. It logs in over the socket as the account it runs as (mysql).
"""

import socketserver
import sys
import threading
import time

import pymysql

REUSE = 0.2
# Seconds after which a server that does not answer counts as down.
TIMEOUT = 1
QUERY = "SHOW STATUS WHERE variable_name IN ('wsrep_local_state', 'wsrep_ready', 'wsrep_local_state_comment')"


class Node:
    """The local server, asked by one thread at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.connection = None
        self.answer = (False, "not asked yet")
        self.asked = 0.0

    def healthy(self):
        with self.lock:
            if time.monotonic() - self.asked > REUSE:
                self.answer = self.ask()
                self.asked = time.monotonic()
            return self.answer

    def ask(self):
        try:
            if self.connection is None:
                self.connection = pymysql.connect(
                    unix_socket="/run/mysqld/mysqld.sock",
                    user="mysql",
                    connect_timeout=TIMEOUT,
                    read_timeout=TIMEOUT,
                    write_timeout=TIMEOUT,
                )
            with self.connection.cursor() as cursor:
                cursor.execute(QUERY)
                status = dict(cursor.fetchall())
        except (pymysql.Error, OSError) as error:
            self.connection = None
            return False, f"no answer from the server: {error}"
        # 4 is Synced, 2 is Donor: mariabackup does not block a donor, and with two nodes left it is the only one.
        good = status.get("wsrep_local_state") in ("2", "4") and status.get("wsrep_ready") == "ON"
        return good, status.get("wsrep_local_state_comment", "Galera is off")


NODE = Node()


class Handler(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self):
        # HAProxy sends one small request a connection; what it asks for does not matter.
        while self.rfile.readline(4096).strip():
            pass
        good, reason = NODE.healthy()
        body = (reason + "\n").encode()
        status = "200 OK" if good else "503 Service Unavailable"
        self.wfile.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        # A client that left early is not worth a word.
        pass


if __name__ == "__main__":
    with Server((sys.argv[1], int(sys.argv[2])), Handler) as server:
        server.serve_forever()
