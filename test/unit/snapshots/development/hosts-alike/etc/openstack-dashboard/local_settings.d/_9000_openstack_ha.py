# Written by openstack-ha: a change made here is lost at the next `pulumi up`.
ALLOWED_HOSTS = ["10.77.3.10", "10.77.0.10"]
OPENSTACK_KEYSTONE_URL = "http://10.77.0.10:5000/v3"
OPENSTACK_ENDPOINT_TYPE = "internalURL"
SESSION_ENGINE = "django.contrib.sessions.backends.db"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "HOST": "10.77.0.10",
        "NAME": "horizon",
        "OPTIONS": {"connect_timeout": 60, "read_timeout": 60, "write_timeout": 60},
        "PASSWORD": "${secret:horizon-db}",
        "USER": "horizon",
    }
}
SECRET_KEY = "${secret:horizon}"
SESSION_TIMEOUT = 3600
WEBROOT = "/horizon/"
LOGIN_URL = "/horizon/auth/login/"
LOGOUT_URL = "/horizon/auth/logout/"
LOGIN_REDIRECT_URL = "/horizon/"
STATIC_URL = "/horizon/static/"
CSRF_COOKIE_SECURE = False
SESSION_COOKIE_SECURE = False
