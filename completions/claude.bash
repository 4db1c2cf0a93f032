# SPDX-License-Identifier: Apache-2.0
# bash completion for claude. Rendered; see scripts/regenerate.

_claude() {
    local cur prev path word i
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD-1]}
    path=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case "$path $word" in
            " gateway") path=" gateway" ;;
            " login") path=" login" ;;
            " logout") path=" logout" ;;
            " whoami") path=" whoami" ;;
            " models") path=" models" ;;
            " settings") path=" settings" ;;
            " token") path=" token" ;;
            " config") path=" config" ;;
            " config validate") path=" config validate" ;;
            " config explain") path=" config explain" ;;
            " config diff") path=" config diff" ;;
            " config schema") path=" config schema" ;;
            " completion") path=" completion" ;;
        esac
    done
    case "$path:$prev" in
        ":--print"|":-p") COMPREPLY=(); return ;;
        ":--model") COMPREPLY=(); return ;;
        ":--max-tokens") COMPREPLY=(); return ;;
        " gateway:--config"|" gateway:-c") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        " gateway:--host") COMPREPLY=(); return ;;
        " gateway:--port") COMPREPLY=(); return ;;
        " login:--fingerprint") COMPREPLY=(); return ;;
        " config validate:--format") COMPREPLY=(); return ;;
        " config explain:--email") COMPREPLY=(); return ;;
        " config explain:--groups") COMPREPLY=(); return ;;
        " config explain:--model") COMPREPLY=(); return ;;
    esac
    case "$path" in
        "") COMPREPLY=($(compgen -W "gateway login logout whoami models settings token config completion --print -p --model --max-tokens --json --version -V --help -h" -- "$cur")) ;;
        " gateway") COMPREPLY=($(compgen -W "--config -c --watch --dev --host --port --help -h" -- "$cur")) ;;
        " login") COMPREPLY=($(compgen -W "--no-browser --no-qr --fingerprint --json --help -h" -- "$cur")) ;;
        " logout") COMPREPLY=($(compgen -W "--help -h" -- "$cur")) ;;
        " whoami") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " models") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " settings") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " token") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " config") COMPREPLY=($(compgen -W "validate explain diff schema --help -h" -- "$cur")) ;;
        " config validate") COMPREPLY=($(compgen -W "--strict --online --format --json --help -h" -- "$cur")) ;;
        " config explain") COMPREPLY=($(compgen -W "--email --groups --model --json --help -h" -- "$cur")) ;;
        " config diff") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " config schema") COMPREPLY=($(compgen -W "--help -h" -- "$cur")) ;;
        " completion") COMPREPLY=($(compgen -W "--help -h" -- "$cur")) ;;
    esac
    case "$path" in
        " config validate"|" config explain"|" config diff") [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- "$cur")) ;;
    esac
}

complete -o filenames -F _claude claude
