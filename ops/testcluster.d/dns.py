"""dns.py SERVER NAME ADDRESS: whether the server says that the name has the address."""
import os, socket, struct, sys

server, name, address = sys.argv[1:]
question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.settimeout(1)
    udp.connect((server, 53))
    udp.send(os.urandom(2) + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + question)
    sys.exit(0 if udp.recv(512).endswith(socket.inet_aton(address)) else 1)
