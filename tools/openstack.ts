/** A small client of the cloud's API, for the tools and benches: a token, the catalogue, and JSON over HTTP. */

export interface Login {
  readonly authUrl: string;
  readonly user: string;
  readonly password: string;
  readonly project: string;
  /** Which endpoints are used. Default public. */
  readonly vip?: "internal" | "public";
}

interface Token {
  readonly user: { readonly id: string };
  readonly project: { readonly id: string };
  readonly catalog: readonly {
    readonly type: string;
    readonly endpoints: readonly { readonly interface: string; readonly url: string }[];
  }[];
}

export type Json = Record<string, unknown>;

/** What the API answered instead of what was asked for. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const TIMEOUT_MS = 90_000;

export class OpenStack {
  private constructor(
    private readonly header: string,
    private readonly token: Token,
    private readonly vip: string,
  ) {}

  /** @throws ApiError if Keystone issues no token. */
  static async login({
    authUrl,
    user,
    password,
    project,
    vip = "public",
  }: Login): Promise<OpenStack> {
    const response = await fetch(`${authUrl}/auth/tokens`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        auth: {
          identity: {
            methods: ["password"],
            password: { user: { name: user, domain: { id: "default" }, password } },
          },
          scope: { project: { name: project, domain: { id: "default" } } },
        },
      }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const body = await response.text();
    if (response.status !== 201) {
      throw new ApiError(
        response.status,
        `Keystone issues no token for ${user}: HTTP ${response.status}`,
      );
    }
    const { token } = JSON.parse(body) as { token: Token };
    return new OpenStack(response.headers.get("X-Subject-Token") ?? "", token, vip);
  }

  get projectId(): string {
    return this.token.project.id;
  }

  /** Where a service of the catalogue is, by its type. */
  endpoint(type: string): string {
    const url = this.token.catalog
      .find((entry) => entry.type === type)
      ?.endpoints.find((each) => each.interface === this.vip)?.url;
    if (url === undefined)
      throw new Error(`the catalogue has no ${this.vip} endpoint of type ${type}`);
    return url;
  }

  /** @throws ApiError where the answer is not 2xx. */
  async ask(method: string, type: string, path: string, body?: Json): Promise<Json> {
    const response = await fetch(`${this.endpoint(type)}${path}`, {
      method,
      headers: {
        "Content-Type": "application/json",
        "X-Auth-Token": this.header,
        // Volumes that are attached by their own id, hosts of servers. Cinder takes no other service's version.
        ...(type === "compute" ? { "OpenStack-API-Version": "compute 2.89" } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    if (!response.ok) {
      const reason = text
        .replace(/<[^>]*>/g, " ")
        .replace(/\s+/g, " ")
        .slice(0, 300);
      throw new ApiError(
        response.status,
        `${method} ${type} ${path}: HTTP ${response.status} ${reason}`,
      );
    }
    return (text.startsWith("{") ? JSON.parse(text) : {}) as Json;
  }

  async get<T>(type: string, path: string, key: string): Promise<T> {
    return (await this.ask("GET", type, path))[key] as T;
  }

  async post<T>(type: string, path: string, key: string, body: Json): Promise<T> {
    return (await this.ask("POST", type, path, body))[key] as T;
  }

  /** Gone is gone: what was not there is not missed. */
  async remove(type: string, path: string): Promise<void> {
    try {
      await this.ask("DELETE", type, path);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    }
  }
}

/** Polls until it gives something; the error names what was waited for and what was last seen. */
export async function eventually<T>(
  what: string,
  limitSeconds: number,
  look: () => Promise<T | undefined>,
  everyMs = 1000,
): Promise<T> {
  const end = Date.now() + limitSeconds * 1000;
  let last = "nothing";
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      if (error instanceof Final) throw error;
      last = (error as Error).message;
    }
    if (Date.now() > end)
      throw new Error(`wanted ${what} within ${limitSeconds} s, found: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** What no waiting will mend. */
export class Final extends Error {}
