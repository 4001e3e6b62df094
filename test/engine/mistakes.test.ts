import * as fs from "node:fs";
import test from "ava";
import { mistakeFixtures } from "../fixtures/config/fixtures";
import { Gate, Project } from "./support/engine";

// Every mistake that a person can make in a stack's file, through the real `pulumi preview`: refused with one line that
// says where, what and what to do, before anything is made.

const STACK = "mistakes";
const fixtures = mistakeFixtures();
let project: Project;

test.before(async () => {
  project = await Project.open(STACK);
});

test.after.always(() => {
  (project as Project | undefined)?.close();
});

const two = new Gate(2);
let done = 0;

for (const { name, options, expect } of fixtures) {
  test(name, async (t) => {
    t.timeout(1_800_000);
    const { status, stdout, stderr } = await two.through(() => {
      const file = project.configFile(STACK, name, options);
      return project.pulumi("preview", "--stack", STACK, "--config-file", file);
    });
    if (++done % 10 === 0) process.stderr.write(`# ${done} of ${fixtures.length} mistakes\n`);
    const said = `${stdout}\n${stderr}`;
    t.not(status, 0, said);
    const lines = said.split("\n").map((line) => line.trim());
    t.deepEqual(
      [...new Set(lines.filter((line) => line.startsWith("openstack-ha:") && line.includes(": ")))],
      [expect],
      said,
    );
    t.true(
      lines.some((line) => line.endsWith(`the configuration of stack ${STACK} has a mistake:`)),
      said,
    );
    t.notRegex(said, /\n\s+at /, "no stack trace");
    t.false(fs.existsSync(project.labState));
  });
}

test("there are as many as there are files", (t) => {
  t.true(fixtures.length >= 100, `${fixtures.length}`);
});
