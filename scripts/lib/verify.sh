# shellcheck shell=bash
# verify, of every service: only its check, once.

verified 0
