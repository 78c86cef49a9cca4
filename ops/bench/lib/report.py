"""What is printed: a Markdown table for each scenario, and whether its marks are reached."""

import math

# Above this share of its cores the load may be what limits, and not the proxy.
FULL = 0.95


def section(title, how):
    print(f"\n## {title}\n\n{how}\n", flush=True)


def table(columns, rows):
    """`columns` are names and formats; rows are lists, whose texts are shown as they are and None as nothing."""
    print("| " + " | ".join(name for name, _ in columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(shown(value, form) for value, (_, form) in zip(row, columns)) + " |")
    print(flush=True)


def shown(value, form):
    if value is None:
        return ""
    return value if isinstance(value, str) else format(value, form)


def load_share(row):
    """How full the load's cores were, the load generator's own part beside it."""
    full = f"{min(row['load_cores'], 1):.0%}, {row['load_own']:.0%} its own"
    return f"**{full}**" if row["load_cores"] >= FULL else full


LOAD_COLUMN = ("load's cores busy", "")
LOAD_NOTE = ("The load and what stands behind the proxies share the other cores; where those are full (bold), the requests a "
             "second are what the load can make, and CPU is what to compare by.")


def at_least(what, value, limit):
    mark(what, value, limit, "at least", value is not None and value >= limit)


def at_most(what, value, limit):
    mark(what, value, limit, "at most", value is not None and value <= limit)


def mark(what, value, limit, relation, reached):
    if value is None:
        print(f"- not measured: {what}")
    else:
        print(f"- {'reached' if reached else '**missed**'}: {what}: {value:,.3g} (mark: {relation} {limit:,.6g})", flush=True)


def at(values, share):
    """The smallest of the sorted values that this share of them is not above; NaN without any."""
    return values[max(math.ceil(share * len(values)), 1) - 1] if values else math.nan


def ratio(results, name, other, key):
    """None when one of them was left out."""
    if name not in results or other not in results or not results[other][key]:
        return None
    return results[name][key] / results[other][key]
