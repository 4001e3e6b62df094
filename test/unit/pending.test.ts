import test from "ava";
import { matching } from "../../tools/pending";

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
