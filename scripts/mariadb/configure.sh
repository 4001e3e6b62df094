# shellcheck shell=bash
# mariadb, configure: the health check runs with its newest code. The database itself is Pacemaker's.

unit_running galera-check.service /usr/local/lib/openstack-ha/galera-check.py /etc/systemd/system/galera-check.service
