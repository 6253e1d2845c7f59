# Names come from other users' processes. They are compared and quoted, and never get where bash expands words: not
# unquoted, and not into `compgen -W`, which runs the command substitutions in its list.

_proc_cache_options() { # COMMAND: its options
    case $1 in
@OPTIONS@
    esac
}

_proc_cache_option() { # COMMAND OPTION: sets `kind` to what the option takes, to nothing where it takes nothing
    case "$1 $2" in
@VALUES@
        *) kind= ;;
    esac
}

_proc_cache_argument() { # COMMAND POSITION: sets `kind` to what stands there
    case "$1 $2" in
@ARGUMENTS@
        *) kind=none ;;
    esac
}

_proc_cache_ask() { # KIND [PREFIX]: sets `lines` to the answer, VALUE<TAB>DESCRIPTION each
    local - IFS=$'\n'
    set -f # the lines are split, not expanded
    lines=($(command -- "$program" _complete "$@" 2>/dev/null </dev/null))
}

_proc_cache_show_pids() { # those in `lines`, with name and user beside them, where bash only lists them and inserts none
    case ${#lines[@]}/${COMP_TYPE-9} in
        1/* | */37 | */42) COMPREPLY=("${lines[@]%%$'\t'*}") ;;
        *) COMPREPLY=("${lines[@]/$'\t'/  }") ;;
    esac
}

_proc_cache_name() { # NAME: quoted, as the user has to; without a description
    local quoted
    if [[ $cur == [\"\']* ]]; then
        # Within quotes that are open it is inserted as it is.
        [[ $1 == "${cur:1}"* && $1 != *[\"\'\\\`\$!]* ]] && COMPREPLY+=("$1")
    else
        printf -v quoted %q "$1"
        [[ $1 == "$cur"* || $quoted == "$cur"* ]] && COMPREPLY+=("$quoted")
    fi
}

_proc_cache_live() { # KIND: pids, cmds, or both as targets
    local -a lines names=()
    local name prefix=
    if [[ $1 == pids ]]; then
        [[ $cur == *@* ]] && return # PID@TIME: the time is the user's to say
        prefix=$cur # of a PID it is what is typed; a name may be quoted
    fi
    _proc_cache_ask "$1" "$prefix"
    case $1 in
        cmds) names=("${lines[@]}") lines=() ;;
        targets) _proc_cache_split ;;
    esac
    _proc_cache_show_pids
    for name in "${names[@]%%$'\t'*}"; do
        _proc_cache_name "$name"
    done
}

_proc_cache_split() { # moves what is no PID from `lines` to `names`; what is said of a PID ends in its user
    local -a all=("${lines[@]}")
    local line
    lines=()
    for line in "${all[@]}"; do
        if [[ $line != *\) ]]; then
            names+=("$line")
        elif [[ $line == "$cur"* ]]; then
            lines+=("$line")
        fi
    done
}

_proc_cache_builtin() { # what `compgen` gives, a line each
    local - IFS=$'\n'
    set -f
    COMPREPLY=($(compgen "$@" -- "$cur"))
}

_proc_cache_programs() { # what can be run; sorted, so that readline leaves out what is there twice
    _proc_cache_builtin -c
    compopt +o nosort 2>/dev/null
}

_proc_cache_among() { # WORDS: one of them
    local word
    for word in $1; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done
}

_proc_cache_list() { # WORDS: several of them, separated by commas
    local before=${cur%"${cur##*,}"}
    cur=${cur##*,}
    _proc_cache_among "$1"
    COMPREPLY=("${COMPREPLY[@]/#/"$before"}")
    compopt -o nospace 2>/dev/null
}

_proc_cache_offer() { # what begins with `cur`, of this `kind`
    case $kind in
        pids | cmds | targets) _proc_cache_live "$kind" ;;
        users) _proc_cache_builtin -u ;;
        groups) _proc_cache_builtin -g ;;
        command) _proc_cache_programs ;;
        files) compopt -o default 2>/dev/null ;; # no reply: readline knows how to complete and quote files
        one-of\ *) _proc_cache_among "${kind#* }" ;;
        some-of\ *) _proc_cache_list "${kind#* }" ;;
    esac
}

_proc_cache_words() { # sets `words` to those up to the cursor, joined where bash split them at `=`, `:` and `@`
    local line=${COMP_LINE-} gap word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]} gap=${line%%[![:space:]]*}
        line=${line#"$gap"}
        if [[ $i == 0 || -n $gap || -z ${COMP_LINE-} ]]; then
            words+=("$word") places+=("$i")
        else
            words[-1]+=$word
        fi
        line=${line#"$word"}
    done
}

_proc_cache_of_command() { # the command that `watch` is to run, from its first word on
    if declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif (($1 == COMP_CWORD)); then
        _proc_cache_programs
    else
        compopt -o default 2>/dev/null
    fi
}

_proc_cache_walk() { # sets `command`, `position`, `kind` (of the option before the cursor) and `dashes`
    local word i
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [[ $kind ]]; then
            kind= # it is the value of the option before it
        elif [[ $word == -- && -z $dashes ]]; then
            dashes=${places[i]}
            [[ $command == watch ]] && return
        elif [[ $word == -* && -z $dashes ]]; then
            [[ $word == *=* ]] || _proc_cache_option "$command" "$word"
        elif [[ -z $command ]]; then
            command=$word
        else
            position+=1
        fi
    done
}

_proc_cache() {
    local IFS=$' \t\n' program=${1/#'~/'/"$HOME/"} command= kind= dashes= cur head= last=${COMP_WORDS[COMP_CWORD]}
    local -a words=() places=()
    local -i position=1
    COMPREPLY=()
    type -P -- "$program" >/dev/null || program=proc-cache
    _proc_cache_words
    _proc_cache_walk
    cur=${words[-1]}
    # Of a word that bash has split, readline replaces the last piece only, with the `@` before it.
    [[ $last == *[!=:@]* ]] || last=
    local kept=${cur%"$last"}
    kept=${kept%@}
    if [[ $last == [\<\>]* || ${COMP_WORDS[COMP_CWORD - 1]} == [\<\>]* ]]; then
        kind=files # of a redirection
    elif [[ $kind ]]; then
        : # the value of an option
    elif [[ $dashes && $command == watch ]]; then
        _proc_cache_of_command $((dashes + 1))
        return
    elif [[ -z $dashes && $cur == --*=* ]]; then
        head=${cur%%=*}= cur=${cur#*=}
        _proc_cache_option "$command" "${head%=}"
    elif [[ -z $dashes && $cur == -* ]]; then
        kind="one-of $(_proc_cache_options "$command")"
    elif [[ -z $command ]]; then
        kind='one-of @COMMANDS@'
    else
        _proc_cache_argument "$command" "$position"
    fi
    _proc_cache_offer
    COMPREPLY=("${COMPREPLY[@]/#/"$head"}")
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}

complete -o nosort -F _proc_cache proc-cache
