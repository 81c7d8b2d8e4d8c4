#!/bin/sh
# /etc/mosix/workstation.sh: a workstation takes guests while nobody is logged in, and belongs to its user otherwise.
#
# For all ways to log in, add to /etc/pam.d/common-session (or system-login):
#     session optional pam_exec.so /etc/mosix/workstation.sh
# A display manager with scripts of its own can call it as "workstation.sh in" and "workstation.sh out".

case ${1:-$PAM_TYPE} in
in | open_session)
    mosctl block
    # Guests leave while the user goes on: nobody waits for them.
    mosctl expel >/dev/null 2>&1 &
    ;;
out | close_session)
    # Somebody else may still be here. The session that ends can still be listed.
    [ "$(who | wc -l)" -gt 1 ] || mosctl noblock
    ;;
esac
exit 0
