#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# What `quire record --native` says under kernel.yama.ptrace_scope (Documentation/admin-guide/LSM/Yama.rst): either the program is recorded, or one
# line says why not, with exit status 2, and no trace is left. Run as root by scripts/oracle-vm in its machine: 3 lasts until the next boot.
scope=/proc/sys/kernel/yama/ptrace_scope
nobody="/oracle/setpriv --reuid 65534 --regid 65534 --clear-groups"
bad=0
nr=0

# check STATUS WORDS COMMAND...: in front of quire, who is to run it.
check() {
    local want=$1 words=$2 said status wrong=

    shift 2
    nr=$((nr + 1))
    said=$("$@" /oracle/quire record --native -o "/tmp/scope-$nr" -- /bin/busybox true 2>&1)
    status=$?
    [ "$status" = "$want" ] || wrong="exit status $status, not $want"
    [ "$want" != 0 ] || [ -s "/tmp/scope-$nr" ] || wrong="no trace"
    [ "$want" = 0 ] || ! [ -e "/tmp/scope-$nr" ] || wrong="a trace is left"
    [ "$want" = 0 ] || [ "$(echo "$said" | wc -l)" = 1 ] || wrong="not one line"
    case "$said" in
    *"$words"*) ;;
    *) wrong="'$words' is missing" ;;
    esac
    if [ -n "$wrong" ]; then
        echo "ptrace_scope $(cat $scope), $*: $wrong; it said: $said"
        bad=1
    fi
}

if ! [ -w "$scope" ]; then
    echo "ptrace_scope: this kernel has no Yama: not asked"
    exit 0
fi
for as in "" "$nobody"; do
    echo 0 > $scope
    check 0 "" $as
    echo 1 > $scope
    check 0 "" $as
done
echo 2 > $scope
check 0 ""
check 2 "CAP_SYS_PTRACE (kernel.yama.ptrace_scope = 2); record it as root, or \`sysctl kernel.yama.ptrace_scope=1\`" $nobody
echo 3 > $scope
check 2 "ptrace is switched off until the next boot (kernel.yama.ptrace_scope = 3)"
check 2 "ptrace is switched off until the next boot (kernel.yama.ptrace_scope = 3)" $nobody
[ "$bad" = 1 ] || echo "ptrace_scope: $nr recordings asked for under 0 to 3, made or refused as they should be"
exit $bad
