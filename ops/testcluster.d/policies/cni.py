#!/usr/bin/python3 -IS
"""The policies' part in making a pod (a CNI plugin, last of its list): tells the enforcer the pod's address and waits until
the pod's rules are at work. If they cannot be, the pod does not start.

`cni.py --ready SOCKET`: whether the enforcer is at work."""

import json, os, socket, sys


def ask(path, seconds=25, **request):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(connection.makefile().readline() or '{"error": "no answer"}')
        if "error" in answer:
            raise OSError(answer["error"])


def main():
    if sys.argv[1:2] == ["--ready"]:
        return ask(sys.argv[2], 2, do="ready")
    command = os.environ["CNI_COMMAND"]
    if command == "VERSION":
        print('{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}')
        return
    conf = json.load(sys.stdin)
    container = os.environ["CNI_CONTAINERID"]
    if command == "DEL":
        try:
            ask(conf["socket"], do="delete", container=container)
        except OSError:
            pass  # an enforcer that is gone remembers nothing
    elif command == "ADD":
        names = dict(pair.split("=", 1) for pair in os.environ["CNI_ARGS"].split(";"))
        ask(
            conf["socket"],
            do="add",
            container=container,
            namespace=names["K8S_POD_NAMESPACE"],
            pod=names["K8S_POD_NAME"],
            address=conf["prevResult"]["ips"][0]["address"].split("/")[0],
        )
        json.dump(conf["prevResult"], sys.stdout)


try:
    main()
except OSError as error:
    if "CNI_COMMAND" not in os.environ:
        sys.exit(str(error))
    json.dump({"cniVersion": "1.0.0", "code": 11, "msg": f"network policies: {error}"}, sys.stdout)
    sys.exit(1)
