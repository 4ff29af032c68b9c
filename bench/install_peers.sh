#!/bin/sh
# Install the servers that mailsvc is measured against, from Debian's packages.
# Nothing is left running: the benchmarks start private instances of their own.
set -eu

export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d

# A package starts its service unless this script says 101.
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi

echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
apt-get install --yes --no-install-recommends \
    postfix dovecot-core dovecot-pop3d dovecot-lmtpd
