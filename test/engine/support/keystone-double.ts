import * as http from "node:http";

// A double of Keystone for what the provider asks of it: a token, and projects. Started as a process of its own:
// keystone-double.ts ADDRESS PORT REGION

const [address, port, region] = process.argv.slice(2) as [string, string, string];
const url = `http://${address}:${port}/v3`;
const projects = new Map<string, Record<string, unknown>>();

function answer(request: http.IncomingMessage, body: string): [status: number, body?: unknown] {
  const [, , kind, id] = (request.url ?? "").split(/[/?]/);
  const method = request.method ?? "";
  if (method === "POST" && kind === "auth") {
    return [
      201,
      {
        token: {
          methods: ["password"],
          expires_at: "2099-01-01T00:00:00.000000Z",
          issued_at: "2020-01-01T00:00:00.000000Z",
          user: { id: "u", name: "admin", domain: { id: "default", name: "Default" } },
          project: { id: "p", name: "admin", domain: { id: "default", name: "Default" } },
          roles: [{ id: "r", name: "admin" }],
          catalog: [
            {
              id: "s",
              name: "keystone",
              type: "identity",
              endpoints: ["admin", "internal", "public"].map((each) => ({
                id: each,
                interface: each,
                region,
                region_id: region,
                url,
              })),
            },
          ],
        },
      },
    ];
  }
  if (kind === "projects" && method === "POST") {
    const { project } = JSON.parse(body) as { project: Record<string, unknown> };
    const made = {
      domain_id: "default",
      parent_id: "default",
      enabled: true,
      is_domain: false,
      tags: [],
      ...project,
      id: `project-${projects.size + 1}`,
    };
    projects.set(made.id, made);
    return [201, { project: made }];
  }
  if (kind === "projects" && id !== undefined && id !== "") {
    const found = projects.get(id);
    if (found === undefined) return [404, { error: { code: 404, title: "Not Found" } }];
    if (method === "DELETE") {
      projects.delete(id);
      return [204];
    }
    if (method === "PATCH")
      Object.assign(found, (JSON.parse(body) as { project: Record<string, unknown> }).project);
    return [200, { project: found }];
  }
  return [200, { version: { id: "v3.14", status: "stable", links: [{ rel: "self", href: url }] } }];
}

http
  .createServer((request, response) => {
    let body = "";
    request.on("data", (text: Buffer) => (body += text.toString()));
    request.on("end", () => {
      const [status, content] = answer(request, body);
      response.writeHead(status, {
        "Content-Type": "application/json",
        "X-Subject-Token": "token",
      });
      response.end(content === undefined ? undefined : JSON.stringify(content));
    });
  })
  .listen(Number(port), address, () => {
    process.stdout.write("ready\n");
  });
