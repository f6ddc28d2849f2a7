# Completes the commands and options of manage.py, in fish. Install it with
#
#     ln -s /opt/bambisleep/deploy/completion/manage.fish ~/.config/fish/completions/manage.py.fish
#
# It asks Django, which takes a second.

function __bambisleep_complete
    set -l words (commandline -opc)
    set -l manage (command -v $words[1]; or echo $words[1])
    set -l python (dirname $manage)/.venv/bin/python
    test -x $python; or set python python3
    set -lx COMP_WORDS (string join ' ' -- $words (commandline -ct))
    set -lx COMP_CWORD (count $words)
    set -lx DJANGO_AUTO_COMPLETE 1
    $python $manage 2>/dev/null | string split ' '
end

complete -c manage.py -f -a '(__bambisleep_complete)'
