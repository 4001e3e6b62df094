import test from "ava";
import { kept, matching, type Pending } from "../../tools/pending";

test("only what was to be made is taken for what a killed run has left", (t) => {
  const list = [
    { id: "1", name: "service", domain_id: "default" },
    { id: "2", name: "services" },
    { id: "3", interface: "public", service_id: "a" },
    { id: "4", interface: "public", service_id: "b" },
  ];
  t.deepEqual(
    matching(list, { name: "service" }, { name: "name" }).map(({ id }) => id),
    ["1"],
  );
  t.deepEqual(
    matching(
      list,
      { interface: "public", serviceId: "b" },
      { interface: "interface", serviceId: "service_id" },
    ).map(({ id }) => id),
    ["4"],
  );
  t.deepEqual(matching(list, { name: "demo" }, { name: "name" }), []);
});

test("what is repeated or was removed is forgotten, and nothing else", (t) => {
  const operation = (type: string, of: string): Pending => ({
    type,
    resource: { urn: `urn:${of}`, type: of, inputs: {} },
  });
  const others = [
    operation("creating", "openstack:identity/roleAssignment:RoleAssignment"),
    operation("deleting", "command:remote:Command"),
  ];
  t.deepEqual(
    kept([
      operation("creating", "command:remote:Command"),
      ...others,
      operation("creating", "openstack:images/image:Image"),
    ]),
    others,
  );
});
