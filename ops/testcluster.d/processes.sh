# shellcheck shell=bash disable=SC2154  # settings.sh assigns them
# The cluster's programs as processes: started, watched and stopped by what was recorded of them. Sourced.
# A component NAME is described by its functions run_NAME, which calls `launch`, and healthy_NAME.

# launch NAME COMMAND …: in a session of its own, so that neither the end of this script nor a Ctrl-C reaches it.
launch() {
    local name=$1 process
    shift
    # The lock's file is not passed on, else it would be held for as long as the program runs.
    setsid "$@" >>"$logs/$name.log" 2>&1 </dev/null {lock}>&- &
    process=$!
    disown # or the shell would report its end
    echo "$process $(birth "$process")" >"$state/$name.process"
}

# When process PID was started, in the kernel's ticks: with it, a number used anew is not taken for the old process.
birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# process_of NAME: its number if it runs.
process_of() {
    local process born
    { read -r process born <"$state/$1.process"; } 2>/dev/null || return 1
    [ "$(birth "$process")" = "$born" ] && alive "$process" && echo "$process"
}

# One that ended and that nobody has asked for yet is dead: the first process of a machine may take its time to ask.
alive() { grep -q '^State:.[^ZX]' "/proc/$1/status" 2>/dev/null; }

# ensure NAME: runs it unless it does.
ensure() {
    process_of "$1" >/dev/null && return 0
    "run_$1"
}

# await NAME [SECONDS]: until it is healthy; a component that died is said at once.
await() {
    local name=$1 deadline=$((SECONDS + ${2:-60}))
    until "healthy_$name" >/dev/null 2>&1; do
        process_of "$name" >/dev/null || fail_of "$name" "has stopped"
        [ "$SECONDS" -lt "$deadline" ] || fail_of "$name" "is not healthy after ${2:-60} s"
        sleep 0.05
    done
}

fail_of() {
    echo "the last lines of $logs/$1.log:" >&2
    tail -n 15 "$logs/$1.log" 2>/dev/null | cut -c 1-400 | sed 's/^/    /' >&2
    fail "$1 $2"
}

# halt NAME [SECONDS]: asks it to end, and kills it when it has not after so long.
halt() {
    local process turns=$((${2:-5} * 20))
    if process=$(process_of "$1"); then
        # One that is frozen cannot end before it goes on.
        kill -TERM "$process" 2>/dev/null && kill -CONT "$process" 2>/dev/null
        while alive "$process" && [ "$turns" -gt 0 ]; do
            sleep 0.05
            turns=$((turns - 1))
        done
        if alive "$process"; then
            kill -KILL "$process" 2>/dev/null || true
            while alive "$process"; do sleep 0.02; done
        fi
    fi
    rm -f "$state/$1.process"
}

# Seconds that NAME has to end. The apiserver waits for its watchers, which here outlive it: nothing is lost by killing
# it, since etcd holds what it has acknowledged.
patience() { if [ "$1" = kube-apiserver ]; then echo 1; else echo 5; fi; }
