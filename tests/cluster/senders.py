#!/usr/bin/python3
"""Application servers that push without a pause, and write down the status of each answer, "none" where
none came. Half of them keep their connection; the others make a new one for each push.

senders.py PORT CERTIFICATE ENDPOINT, until it is ended.
"""

import http.client
import os
import socket
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

SENDERS = 4
# Between two pushes of one sender.
PAUSE = 0.05

PORT, CERTIFICATE, ENDPOINT = sys.argv[1:]
URL = urlsplit(ENDPOINT)
TLS = ssl.create_default_context(cafile=CERTIFICATE)


class Connection(http.client.HTTPSConnection):
    """To the port on this machine, whatever the name is."""

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", int(PORT)), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = TLS.wrap_socket(plain, server_hostname=self.host)


def push(connection):
    try:
        connection.request("POST", URL.path, b"news", {"TTL": "60"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        connection.close()
        return "none"


def send(keep):
    connection = Connection(URL.hostname, timeout=20)
    while True:
        # In one piece, whoever else writes.
        os.write(1, f"{push(connection)}\n".encode())
        if not keep:
            connection.close()
        time.sleep(PAUSE)


senders = [threading.Thread(target=send, args=(number % 2 == 0,)) for number in range(SENDERS)]
for sender in senders:
    sender.start()
