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
            " spend") path=" spend" ;;
            " spend limits") path=" spend limits" ;;
            " spend limits list") path=" spend limits list" ;;
            " spend limits set") path=" spend limits set" ;;
            " spend limits delete") path=" spend limits delete" ;;
            " spend limits effective") path=" spend limits effective" ;;
            " spend limits audit") path=" spend limits audit" ;;
            " spend request") path=" spend request" ;;
            " spend requests") path=" spend requests" ;;
            " spend requests list") path=" spend requests list" ;;
            " spend requests approve") path=" spend requests approve" ;;
            " spend requests deny") path=" spend requests deny" ;;
            " spend requests withdraw") path=" spend requests withdraw" ;;
            " spend alerts") path=" spend alerts" ;;
            " spend alerts test") path=" spend alerts test" ;;
            " admin") path=" admin" ;;
            " admin sessions") path=" admin sessions" ;;
            " admin revoke") path=" admin revoke" ;;
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
        " gateway:--health") COMPREPLY=(); return ;;
        " gateway:--host") COMPREPLY=(); return ;;
        " gateway:--port") COMPREPLY=(); return ;;
        " login:--fingerprint") COMPREPLY=(); return ;;
        " spend:--user") COMPREPLY=(); return ;;
        " spend:--group") COMPREPLY=(); return ;;
        " spend:--by") COMPREPLY=(); return ;;
        " spend:--from") COMPREPLY=(); return ;;
        " spend:--to") COMPREPLY=(); return ;;
        " spend:--format") COMPREPLY=($(compgen -W "table json csv focus" -- "$cur")); return ;;
        " spend limits list:--user") COMPREPLY=(); return ;;
        " spend limits list:--group") COMPREPLY=(); return ;;
        " spend limits list:--period") COMPREPLY=($(compgen -W "daily weekly monthly" -- "$cur")); return ;;
        " spend limits set:--user") COMPREPLY=(); return ;;
        " spend limits set:--group") COMPREPLY=(); return ;;
        " spend limits set:--period") COMPREPLY=($(compgen -W "daily weekly monthly" -- "$cur")); return ;;
        " spend limits set:--amount") COMPREPLY=(); return ;;
        " spend limits set:--pool") COMPREPLY=(); return ;;
        " spend limits set:--reason") COMPREPLY=(); return ;;
        " spend limits delete:--user") COMPREPLY=(); return ;;
        " spend limits delete:--group") COMPREPLY=(); return ;;
        " spend limits delete:--period") COMPREPLY=($(compgen -W "daily weekly monthly" -- "$cur")); return ;;
        " spend limits effective:--user") COMPREPLY=(); return ;;
        " spend limits effective:--group") COMPREPLY=(); return ;;
        " spend limits effective:--period") COMPREPLY=($(compgen -W "daily weekly monthly" -- "$cur")); return ;;
        " spend limits audit:--actor") COMPREPLY=(); return ;;
        " spend limits audit:--action") COMPREPLY=(); return ;;
        " spend limits audit:--limit") COMPREPLY=(); return ;;
        " spend request:--amount") COMPREPLY=(); return ;;
        " spend request:--period") COMPREPLY=($(compgen -W "daily weekly monthly" -- "$cur")); return ;;
        " spend request:--reason") COMPREPLY=(); return ;;
        " spend requests list:--status") COMPREPLY=($(compgen -W "pending approved denied withdrawn expired" -- "$cur")); return ;;
        " spend requests approve:--amount") COMPREPLY=(); return ;;
        " spend requests approve:--until") COMPREPLY=(); return ;;
        " spend requests approve:--reason") COMPREPLY=(); return ;;
        " spend requests deny:--reason") COMPREPLY=(); return ;;
        " admin sessions:--user") COMPREPLY=(); return ;;
        " admin revoke:--user") COMPREPLY=(); return ;;
        " admin revoke:--session") COMPREPLY=(); return ;;
        " admin revoke:--group") COMPREPLY=(); return ;;
        " config validate:--format") COMPREPLY=(); return ;;
        " config explain:--email") COMPREPLY=(); return ;;
        " config explain:--groups") COMPREPLY=(); return ;;
        " config explain:--model") COMPREPLY=(); return ;;
    esac
    case "$path" in
        "") COMPREPLY=($(compgen -W "gateway login logout whoami models settings token spend admin config completion --print -p --model --max-tokens --json --version -V --help -h" -- "$cur")) ;;
        " gateway") COMPREPLY=($(compgen -W "--config -c --watch --health --dev --host --port --help -h" -- "$cur")) ;;
        " login") COMPREPLY=($(compgen -W "--no-browser --no-qr --fingerprint --json --help -h" -- "$cur")) ;;
        " logout") COMPREPLY=($(compgen -W "--help -h" -- "$cur")) ;;
        " whoami") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " models") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " settings") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " token") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " spend") COMPREPLY=($(compgen -W "limits request requests alerts --user --group --org --by --from --to --format --json --chart --help -h" -- "$cur")) ;;
        " spend limits") COMPREPLY=($(compgen -W "list set delete effective audit --help -h" -- "$cur")) ;;
        " spend limits list") COMPREPLY=($(compgen -W "--user --group --org --period --json --help -h" -- "$cur")) ;;
        " spend limits set") COMPREPLY=($(compgen -W "--user --group --org --period --amount --unlimited --pool --pause-pool --resume-pool --remove-pool --reason --json --help -h" -- "$cur")) ;;
        " spend limits delete") COMPREPLY=($(compgen -W "--user --group --org --period --json --help -h" -- "$cur")) ;;
        " spend limits effective") COMPREPLY=($(compgen -W "--user --group --period --json --help -h" -- "$cur")) ;;
        " spend limits audit") COMPREPLY=($(compgen -W "--actor --action --limit --json --help -h" -- "$cur")) ;;
        " spend request") COMPREPLY=($(compgen -W "--amount --period --reason --json --help -h" -- "$cur")) ;;
        " spend requests") COMPREPLY=($(compgen -W "list approve deny withdraw --help -h" -- "$cur")) ;;
        " spend requests list") COMPREPLY=($(compgen -W "--status --json --help -h" -- "$cur")) ;;
        " spend requests approve") COMPREPLY=($(compgen -W "--amount --until --permanent --reason --json --help -h" -- "$cur")) ;;
        " spend requests deny") COMPREPLY=($(compgen -W "--reason --json --help -h" -- "$cur")) ;;
        " spend requests withdraw") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " spend alerts") COMPREPLY=($(compgen -W "test --help -h" -- "$cur")) ;;
        " spend alerts test") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " admin") COMPREPLY=($(compgen -W "sessions revoke --help -h" -- "$cur")) ;;
        " admin sessions") COMPREPLY=($(compgen -W "--user --json --help -h" -- "$cur")) ;;
        " admin revoke") COMPREPLY=($(compgen -W "--user --session --group --json --help -h" -- "$cur")) ;;
        " config") COMPREPLY=($(compgen -W "validate explain diff schema --help -h" -- "$cur")) ;;
        " config validate") COMPREPLY=($(compgen -W "--strict --online --format --json --help -h" -- "$cur")) ;;
        " config explain") COMPREPLY=($(compgen -W "--email --groups --model --online --json --help -h" -- "$cur")) ;;
        " config diff") COMPREPLY=($(compgen -W "--json --help -h" -- "$cur")) ;;
        " config schema") COMPREPLY=($(compgen -W "--help -h" -- "$cur")) ;;
        " completion") COMPREPLY=($(compgen -W "--help -h" -- "$cur")) ;;
    esac
    case "$path" in
        " config validate"|" config explain"|" config diff") [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- "$cur")) ;;
    esac
}

complete -o filenames -F _claude claude
