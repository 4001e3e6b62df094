# shellcheck shell=bash
# keystone, start: runs with its newest configuration and issues tokens.

mapfile -t files < <(param files)
ready() { verify; }

unit_running keystone.service "${files[@]}"
verified 90
