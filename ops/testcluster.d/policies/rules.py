"""What NetworkPolicies (networking.k8s.io/v1) come to as one nft table. No I/O.

Traffic between pods crosses the bridge and so nft's forward hook; what a pod sends to the node (DNS, the apiserver) crosses
input. The node's own connections to pods cross neither, and are always allowed, as Kubernetes wants it."""

from typing import NamedTuple


class Pod(NamedTuple):
    namespace: str
    labels: dict
    addresses: frozenset
    ports: tuple  # (name, protocol, number)


def pod_of(manifest, addresses):
    meta, spec = manifest["metadata"], manifest["spec"]
    ports = tuple(
        (port.get("name"), port.get("protocol", "TCP"), port["containerPort"])
        for container in spec["containers"] + spec.get("initContainers", [])
        for port in container.get("ports") or []
    )
    return Pod(meta["namespace"], meta.get("labels") or {}, frozenset(addresses), ports)


def selects(selector, labels):
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for wanted in selector.get("matchExpressions") or []:
        value, values = labels.get(wanted["key"]), wanted.get("values") or []
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[wanted["operator"]]:
            return False
    return True


def addresses_of(pods):
    return sorted({address for pod in pods for address in pod.addresses})


def braces(items):
    return "{ " + ", ".join(items) + " }"


def peer_matches(peers, side, namespace, pods, namespaces):
    """For each peer of a rule: the nft match of its address, and the pods that it may be."""
    if not peers:
        return [("", pods)]
    found = []
    for peer in peers:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            # Pods have addresses of IPv4 only, so that a block of IPv6 selects nobody.
            if ":" in block["cidr"]:
                continue
            # Exceptions may overlap, which one set of nft's would not take.
            exceptions = [f" ip {side} != {network}" for network in block.get("except") or []]
            found.append((f"ip {side} {block['cidr']}" + "".join(exceptions), pods))
            continue
        chosen = [
            pod
            for pod in pods
            if selects(peer.get("podSelector") or {}, pod.labels)
            and (
                selects(peer["namespaceSelector"], namespaces.get(pod.namespace, {}))
                if "namespaceSelector" in peer
                else pod.namespace == namespace
            )
        ]
        if chosen:
            found.append((f"ip {side} {braces(addresses_of(chosen))}", chosen))
    return found


def port_matches(ports, destinations):
    """The nft matches of a rule's ports; a named one is looked up in the pods that are connected to."""
    if not ports:
        return [""]
    found = []
    for port in ports:
        protocol, number = port.get("protocol", "TCP"), port.get("port")
        dport = f"{protocol.lower()} dport"
        if number is None:
            found.append(f"meta l4proto {protocol.lower()}")
        elif isinstance(number, str):
            found += [
                f"ip daddr {address} {dport} {offered}"
                for pod in destinations
                for name, offered_protocol, offered in pod.ports
                if name == number and offered_protocol == protocol
                for address in sorted(pod.addresses)
            ]
        else:
            found.append(f"{dport} {number}" + (f"-{port['endPort']}" if "endPort" in port else ""))
    return found


def types_of(spec):
    return spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def table(bridge, pods, namespaces, policies):
    """The whole table: PODS with an address, NAMESPACES' labels by name, and the POLICIES."""
    isolated = {"ingress": set(), "egress": set()}
    rules = {"ingress": [], "egress": []}
    for policy in policies:
        namespace, spec = policy["metadata"]["namespace"], policy["spec"]
        own = [p for p in pods if p.namespace == namespace and selects(spec.get("podSelector") or {}, p.labels)]
        if not own:
            continue
        for direction, near, far, peers in (("ingress", "daddr", "saddr", "from"), ("egress", "saddr", "daddr", "to")):
            if direction.capitalize() not in types_of(spec):
                continue
            isolated[direction].update(addresses_of(own))
            for rule in spec.get(direction) or []:
                for match, others in peer_matches(rule.get(peers), far, namespace, pods, namespaces):
                    for port in port_matches(rule.get("ports"), own if direction == "ingress" else others):
                        rules[direction].append(f"ip {near} {braces(addresses_of(own))} {match} {port} return")

    def address_set(name, addresses):
        elements = f"elements = {braces(sorted(addresses))}; " if addresses else ""
        return f"set {name} {{ type ipv4_addr; {elements}}}"

    def chain(direction):
        refuse = ["meta l4proto tcp reject with tcp reset", "reject with icmpx type admin-prohibited"]
        return [f"chain {direction} {{", *rules[direction], *refuse, "}"]

    # Pods have no IPv6 but what the kernel gives every device, which would pass by the policies.
    first = f'iifname != "{bridge}" return; ct state established,related return; meta nfproto ipv6 drop;'
    return "\n".join([
        "table inet slipway_policies",
        "delete table inet slipway_policies",
        "table inet slipway_policies {",
        # Addresses whose policies are known. From and to any other on the bridge nothing passes.
        address_set("known", addresses_of(pods)),
        address_set("isolated_ingress", isolated["ingress"]),
        address_set("isolated_egress", isolated["egress"]),
        *chain("ingress"),
        *chain("egress"),
        f"chain forward {{ type filter hook forward priority -5; {first}",
        "ip saddr != @known drop",
        "ip daddr != @known reject with icmpx type host-unreachable",
        "ip saddr @isolated_egress jump egress",
        "ip daddr @isolated_ingress jump ingress",
        "}",
        f"chain input {{ type filter hook input priority -5; {first}",
        "ip saddr != @known drop",
        "ip saddr @isolated_egress jump egress",
        "}",
        "}",
    ]) + "\n"
