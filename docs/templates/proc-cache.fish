# Names come from other users' processes: fish takes lines for candidates as they are, and quotes what it inserts.

function __proc_cache_ask -d 'What proc-cache offers: VALUE<TAB>DESCRIPTION a line'
    set -l words (commandline -opc)
    set -l program (string replace -r -- '^~/' "$HOME/" $words[1])
    command -q -- $program
    or set program proc-cache
    command -q $program
    and command $program _complete $argv 2>/dev/null </dev/null
end

function __proc_cache_pids
    string match -q -- '*@*' (commandline -ct) # PID@TIME: the time is the user's to say
    or __proc_cache_ask pids
end

function __proc_cache_cmds
    __proc_cache_ask cmds
end

function __proc_cache_targets
    if string match -q -- '*@*' (commandline -ct)
        __proc_cache_ask cmds
    else
        __proc_cache_ask targets
    end
end

function __proc_cache_list -d 'Several of these words, separated by commas'
    set -l before (string replace -r -- '(^|=|,)[^,=]*$' '$1' (commandline -ct) | string replace -r -- '^-.*=' '')
    printf '%s\n' $before$argv
end

function __proc_cache_place -d 'Where the cursor is: COMMAND POSITION, or COMMAND -- POSITION'
    set -l words (commandline -opc)
    set -l command -
    set -l dashes
    set -l position 1
    set -l is_value no
    for word in $words[2..-1]
        if test $is_value = yes
            set is_value no
        else if set -q dashes[1]
            set position (math $position + 1)
        else if test "$word" = --
            set dashes ' --'
        else if contains -- "$command $word" $__proc_cache_valued
            set is_value yes
        else if string match -q -- '-*' $word
            continue
        else if test "$command" = -
            set command $word
        else
            set position (math $position + 1)
        end
    end
    echo "$command$dashes $position"
end

function __proc_cache_is_at -d 'Whether the cursor is there; a regular expression'
    string match -rq -- "^$argv[1]\$" (__proc_cache_place)
end

function __proc_cache_of_command -d 'The command that watch is to run'
    set -l words (commandline -opc)
    set -l dashes (contains -i -- -- $words)
    or set dashes (count $words)
    set -l before $words[(math $dashes + 1)..-1]
    test $dashes -ge (count $words)
    and set before
    complete -C (string join ' ' -- (string escape -- $before) (commandline -ct))
end

# The options that take a value, each with its command.
set -g __proc_cache_valued @VALUED@

complete -c proc-cache -f
@RULES@
