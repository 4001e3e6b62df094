# shellcheck shell=bash
# base, configure: the kernel runs with the settings of the plan's file, and the host has its name.

settings=/etc/sysctl.d/90-openstack-ha.conf

# In check mode the file may not be there yet; that difference is noted already.
if [[ -e $settings ]]; then
  while IFS=' =' read -r key value; do
    [[ $key == [a-z]* ]] || continue
    found=$(sysctl -n "$key" 2>/dev/null || echo none)
    [[ $found == "$value" ]] || change "$key $found to $value" sysctl -qw "$key=$value"
  done <"$settings"
fi

[[ $(hostname) == "$STEP_HOST" ]] || change "hostname $(hostname) to $STEP_HOST" hostname "$STEP_HOST"

# A unit that has failed is for its own service's step to mend, which comes after this one.
checking || systemctl reset-failed

verified 60
