import type * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../../config";
import type { Host } from "../hosts/host";
import { lines, secret } from "../render";
import type { Context, PerHost } from "../service";
import type { Check, Files } from "../step";
import { ApiService } from "./api";
import { apiPort, keystoneUrl } from "./oslo";

const PORT = apiPort("horizon");
const SETTINGS = "/etc/openstack-dashboard/local_settings.d/_9000_openstack_ha.py";

export interface HorizonArgs {
  /** Galera takes writes through the internal VIP. */
  readonly database: PerHost;
}

/** The dashboard on every controller, with its sessions in the database. */
export class Horizon extends ApiService {
  constructor(context: Context, args: HorizonArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "horizon",
      context,
      {
        database: args.database,
        files: (host) => horizonFiles(context.cloud, host),
        // Debian's own sites listen everywhere, or on another path.
        directories: { "/etc/apache2/sites-enabled": { purge: true } },
        check: horizonCheck,
      },
      opts,
    );
  }
}

/** Its login page is shown on this host, to those who ask for the public address. */
export const horizonCheck: Check = (cloud, host) => ({
  params: {
    host: cloud.vips.public,
    units: ["apache2.service"],
    url: `http://${host.addresses.management}:${PORT}/horizon/auth/login/`,
  },
  verify: "horizon/verify.sh",
});

export function horizonFiles(cloud: Cloud, host: Pick<Host, "addresses">): Files {
  return {
    [SETTINGS]: { content: settings(cloud), mode: "0640", group: "www-data" },
    "/etc/apache2/ports.conf": { content: lines(`Listen ${host.addresses.management}:${PORT}`) },
    "/etc/apache2/sites-enabled/openstack-ha.conf": { content: site(cloud) },
  };
}

/** Django's settings: only what differs from Debian's. */
function settings(cloud: Cloud): string {
  const timeout = cloud.database.timeoutSeconds;
  const { tls, vips } = cloud;
  const allowed = [...new Set([vips.public, vips.internal, ...(tls ? [tls.name] : [])])];
  return lines(
    `ALLOWED_HOSTS = [${allowed.map((host) => `"${host}"`).join(", ")}]`,
    `OPENSTACK_KEYSTONE_URL = "${keystoneUrl(cloud, "internal")}"`,
    'OPENSTACK_ENDPOINT_TYPE = "internalURL"',
    // Sessions outlive the controller that began them.
    'SESSION_ENGINE = "django.contrib.sessions.backends.db"',
    "DATABASES = {",
    '    "default": {',
    '        "ENGINE": "django.db.backends.mysql",',
    `        "HOST": "${cloud.vips.internal}",`,
    '        "NAME": "horizon",',
    `        "OPTIONS": {"connect_timeout": ${timeout}, "read_timeout": ${timeout}, "write_timeout": ${timeout}},`,
    `        "PASSWORD": "${secret("horizon-db")}",`,
    '        "USER": "horizon",',
    "    }",
    "}",
    `SECRET_KEY = "${secret("horizon")}"`,
    `SESSION_TIMEOUT = ${cloud.horizon.sessionMinutes * 60}`,
    'WEBROOT = "/horizon/"',
    'LOGIN_URL = "/horizon/auth/login/"',
    'LOGOUT_URL = "/horizon/auth/logout/"',
    'LOGIN_REDIRECT_URL = "/horizon/"',
    'STATIC_URL = "/horizon/static/"',
    ...(tls
      ? [
          "CSRF_COOKIE_SECURE = True",
          "SESSION_COOKIE_SECURE = True",
          // HAProxy says how it was asked, and lets nobody else say it.
          'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")',
        ]
      : // A browser would not send them back in clear.
        ["CSRF_COOKIE_SECURE = False", "SESSION_COOKIE_SECURE = False"]),
  );
}

function site(cloud: Cloud): string {
  const { processes, threads } = cloud.horizon;
  return lines(
    `<VirtualHost *:${PORT}>`,
    "    ServerName horizon",
    "    DocumentRoot /var/www/html",
    `    WSGIDaemonProcess horizon user=www-data group=www-data processes=${processes} threads=${threads} display-name=%{GROUP}`,
    "    WSGIProcessGroup horizon",
    // Modules in C that are not made for sub-interpreters.
    "    WSGIApplicationGroup %{GLOBAL}",
    "    WSGIScriptAlias /horizon /usr/share/openstack-dashboard/wsgi.py",
    "    Alias /horizon/static /var/lib/openstack-dashboard/static",
    "    RedirectMatch ^/$ /horizon/",
    "    <Directory /usr/share/openstack-dashboard>",
    "        Require all granted",
    "    </Directory>",
    "    <Directory /var/lib/openstack-dashboard/static>",
    "        Require all granted",
    "    </Directory>",
    "    ErrorLog /var/log/apache2/error.log",
    "    CustomLog /var/log/apache2/access.log combined",
    "</VirtualHost>",
  );
}
