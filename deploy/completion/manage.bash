# Completes the commands and options of manage.py, in bash and zsh. In ~/.bashrc:
#
#     source /opt/bambisleep/deploy/completion/manage.bash
#
# In ~/.zshrc, before that line: autoload -U +X compinit bashcompinit && compinit && bashcompinit
#
# It works for `manage.py`, by whatever path, for `python manage.py`, and for deploy/install's `bambisleep`, as root. It
# asks Django, which takes a second.

_bambisleep_complete() { # the index of manage.py among the words, and what runs it
    local at=$1 words
    shift
    words="${COMP_WORDS[*]:$at}"
    local IFS=$'\n'
    COMPREPLY=($(COMP_WORDS="$words" COMP_CWORD=$((COMP_CWORD - at)) DJANGO_AUTO_COMPLETE=1 "$@" 2>/dev/null | tr ' ' '\n'))
    # An option that takes a value ends in "=", and the value follows at once.
    if [ "${#COMPREPLY[@]}" = 1 ] && [ "${COMPREPLY[0]%=}" != "${COMPREPLY[0]}" ] && type compopt >/dev/null 2>&1; then
        compopt -o nospace
    fi
}

_bambisleep_manage() {
    local manage="${COMP_WORDS[0]}" python
    manage="$(type -P "$manage" 2>/dev/null || echo "$manage")"
    python="$(dirname "$manage")/.venv/bin/python"
    [ -x "$python" ] || python=python3
    _bambisleep_complete 0 "$python" "$manage"
}

_bambisleep_python() {
    case "${COMP_WORDS[1]}" in
        manage.py | */manage.py) [ "$COMP_CWORD" -gt 1 ] && _bambisleep_complete 1 "${COMP_WORDS[0]}" "${COMP_WORDS[1]}" ;;
    esac
}

_bambisleep_installed() {
    _bambisleep_complete 0 "${COMP_WORDS[0]}"
}

complete -o default -F _bambisleep_manage manage.py
complete -o default -F _bambisleep_installed bambisleep
complete -o default -F _bambisleep_python python python3
