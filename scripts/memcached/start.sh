# shellcheck shell=bash
# memcached, start: runs with its newest configuration. It is a cache, so its restart loses nothing.

ready() { verify; }

unit_running memcached.service /etc/memcached.conf
verified 30
