# shellcheck shell=bash
# pacemaker, verify: this host is a clean member of a quorate cluster, every host has a running fencing device, and
# nothing is failed here.

verify() {
  local mon
  mon=$(crm_mon --one-shot --output-as=xml 2>/dev/null) || {
    echo "Pacemaker does not answer on $STEP_HOST"
    return 1
  }
  python3 -c '
import sys, xml.etree.ElementTree as tree
host, root = sys.argv[1], tree.fromstring(sys.stdin.read())
problems = []
if root.find("summary/current_dc").get("with_quorum") != "true":
    problems.append("no quorum")
nodes = {node.get("name"): node for node in root.findall("nodes/node")}
me = nodes.get(host)
if me is None or me.get("online") != "true" or me.get("unclean") == "true" or me.get("pending") == "true":
    problems.append(f"{host} is not a clean member")
for name, node in nodes.items():
    for state in ("standby", "maintenance"):
        if node.get(state) == "true":
            problems.append(f"{name} is in {state}")
for failure in root.findall("failures/failure"):
    if failure.get("node") == host:
        problems.append("failed: " + failure.get("op_key", "?"))
running = {r.get("id") for r in root.iter("resource") if r.get("active") == "true" and r.get("failed") != "true"}
for name in sorted(nodes):
    if f"fence-{name}" not in running:
        problems.append(f"fencing device of {name} does not run")
if problems:
    print("; ".join(problems))
else:
    here = sorted(
        r.get("id")
        for r in root.findall("resources/resource")
        if r.get("id").startswith("vip-") and r.find(f"node[@name=\"{host}\"]") is not None
    )
    dc = root.find("summary/current_dc").get("name")
    online = sum(node.get("online") == "true" for node in nodes.values())
    print(", ".join([f"{online} of {len(nodes)} online"] + (["coordinator"] if dc == host else []) + here))
sys.exit(1 if problems else 0)
' "$STEP_HOST" <<<"$mon"
}
