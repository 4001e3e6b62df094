# Written by openstack-ha: a change made here is lost at the next `pulumi up`.
ALLOWED_HOSTS = ["198.51.100.250", "172.20.0.250", "cloud.north.example"]
OPENSTACK_KEYSTONE_URL = "http://172.20.0.250:5000/v3"
OPENSTACK_ENDPOINT_TYPE = "internalURL"
SESSION_ENGINE = "django.contrib.sessions.backends.db"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "HOST": "172.20.0.250",
        "NAME": "horizon",
        "OPTIONS": {"connect_timeout": 45, "read_timeout": 45, "write_timeout": 45},
        "PASSWORD": "${secret:horizon-db}",
        "USER": "horizon",
    }
}
SECRET_KEY = "${secret:horizon}"
SESSION_TIMEOUT = 5400
WEBROOT = "/horizon/"
LOGIN_URL = "/horizon/auth/login/"
LOGOUT_URL = "/horizon/auth/logout/"
LOGIN_REDIRECT_URL = "/horizon/"
STATIC_URL = "/horizon/static/"
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_SECURE = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
