# /etc/profile.d/mosix.sh: everything that a user types in a login shell may move, if this machine is a node.
# Remove it to leave that to an explicit "mosrun".

if [ -z "$MOSIX_LOGIN" ] && [ -t 0 ] && [ -n "$SHELL" ] && mosctl localstatus >/dev/null 2>&1; then
    MOSIX_LOGIN=1
    export MOSIX_LOGIN
    exec mosrun -e -z "$SHELL" "-${SHELL##*/}"
fi
